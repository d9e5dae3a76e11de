/* The root file system: put together from layers or a directory, and made the process's own. */
#include "setup.h"

long root_is(long fd)
{
    if (fd < 0)
        return fd;
    setup.root = (int)fd;
    return 0;
}

/* A mount the monitor made. */
long root_given(struct plan *args)
{
    long fd = given_fd(next_int(args));
    return fd < 0 ? blame(fd, "root", "given") : root_is(fd);
}

long root_bind(struct plan *args)
{
    const char *path = next_string(args);
    int recursive = (int)next_int(args);
    int64_t given = next_int(args);
    long fd = open_source(path, recursive ? MOUNT_RECURSIVE : 0);
    if (fd == -EACCES && given >= 0)
        fd = given_fd(given);
    return fd < 0 ? blame(fd, "open_tree", path) : root_is(fd);
}

/* Nothing that is mounted at `path` shall be seen elsewhere: the mount that holds it leaves its peers. */
long parent_private(struct plan *args)
{
    const char *path = next_string(args);
    struct statx st = { 0 };
    long fd = SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0), done = fd;
    while (done >= 0 && (done = SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st)) >= 0 &&
           !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
        done = SYS(openat, fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        SYS(close, fd);
        fd = done;
    }
    if (done >= 0)
        done = set_attributes((int)fd, 0, 0, MS_PRIVATE, 0);
    if (fd >= 0)
        SYS(close, fd);
    return named(done, "make private the mount of", path);
}

long root_attach(struct plan *args)
{
    const char *path = next_string(args);
    long done = SYS(move_mount, setup.root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
    if (done == -EACCES) /* root of a user namespace that may not go there: on the old root, which pivot_root leaves */
        done = SYS(move_mount, setup.root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    setup.attached = path;
    return done < 0 ? blame(done, "move_mount", path) : 0;
}

long root_open(struct plan *args)
{
    const char *path = next_string(args);
    long fd = SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    return fd < 0 ? blame(fd, "open", path) : root_is(fd);
}

long pivot(struct plan *args)
{
    int how = (int)next_int(args);
    long done = SYS(fchdir, setup.root);
    if (done >= 0 && how == 2) {
        done = SYS(chroot, ".");
    } else if (done >= 0 && how == 1) {
        done = SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
        if (done >= 0)
            done = SYS(chroot, ".");
    } else if (done >= 0) {
        /* The old root is stacked on the new one and then let go; its peers must not hear of that. */
        long old = SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        done = SYS(pivot_root, ".", ".");
        if (done >= 0)
            done = set_attributes((int)old, 0, 0, MS_SLAVE, 1);
        if (done >= 0)
            done = SYS(umount2, ".", MNT_DETACH);
        SYS(close, old);
    }
    if (done >= 0)
        done = SYS(chdir, "/");
    if (done < 0)
        return blame(done, "pivot_root", "");
    SYS(close, setup.root);
    setup.root = -1;
    return 0;
}

long root_read_only(void)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
    long done = SYS(mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof attr);
    return done < 0 ? blame(done, "mount_setattr", "/") : 0;
}
