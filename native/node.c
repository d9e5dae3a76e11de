/* Device nodes, links and directories of the container. */
#include "setup.h"

#define S_TYPE 0170000
#define S_FIFO 0010000

long symlink(struct plan *args)
{
    const char *content = next_string(args), *path = next_string(args);
    char last[256];
    long parent = resolve_parent(path, last, 0);
    if (parent < 0)
        return blame(parent, "symlink", path);
    long done = SYS(symlinkat, content, parent, last);
    SYS(close, parent);
    return done < 0 && done != -EEXIST ? blame(done, "symlink", path) : 0;
}

static int is_device(const struct statx *st, unsigned mode, unsigned major, unsigned minor)
{
    if ((st->stx_mode & S_TYPE) != (mode & S_TYPE))
        return 0;
    return (mode & S_TYPE) == S_FIFO || (st->stx_rdev_major == major && st->stx_rdev_minor == minor);
}

/* The host's node at `source` bound to `path`, if it is that device. */
static long bind_device(const char *source, const char *path, unsigned mode, unsigned major, unsigned minor)
{
    struct statx st;
    long node = SYS(openat, AT_FDCWD, source, O_PATH | O_CLOEXEC, 0), mount = node, target = -1;
    if (node >= 0)
        mount = SYS(statx, node, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
    if (mount >= 0)
        mount = is_device(&st, mode, major, minor)
                    ? SYS(open_tree, node, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH) : -ENODEV;
    long done = mount;
    if (mount >= 0)
        done = target = open_target(path, ORDINARY, 0, 0);
    if (target >= 0)
        done = attach((int)mount, (int)target);
    const int ours[] = { (int)node, (int)mount, (int)target };
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i] >= 0)
            SYS(close, ours[i]);
    return done == -ENODEV ? blame(done, "the host has another device at", source)
           : done < 0      ? blame(done, "bind device", source) : 0;
}

/* Mode and owner for the node `last`, if it is that device: by its descriptor, for somebody who shares the directory may
 * put a link in its place at any time. */
static long take_node(long parent, const char *last, unsigned mode, unsigned major, unsigned minor, unsigned uid,
                      unsigned gid)
{
    struct statx st;
    long node = SYS(openat, parent, last, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (node < 0)
        return node;
    long done = SYS(statx, node, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
    if (done >= 0 && !is_device(&st, mode, major, minor))
        done = -EEXIST;
    if (done >= 0)
        done = SYS(fchownat, node, "", uid, gid, AT_EMPTY_PATH);
    if (done >= 0) { /* the mask had its say at creation */
        TEXT(name, 32);
        put(&name, "/proc/self/fd/");
        put_number(&name, node);
        done = SYS(fchmodat, AT_FDCWD, name.at, mode & 07777);
    }
    SYS(close, node);
    return done;
}

/* A device node.  One that is there must be the same device (it keeps its place, and gets the mode and owner wanted);
 * anything else in its place is refused.  Where none can be made, the host's is bound.
 * runtime-spec config-linux.md "Devices" */
long device(struct plan *args)
{
    const char *path = next_string(args);
    char last[256];
    unsigned mode = (unsigned)next_int(args), major = (unsigned)next_int(args), minor = (unsigned)next_int(args);
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    const char *source = next_string(args);
    unsigned number = (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
    if (*source)
        return bind_device(source, path, mode, major, minor);
    long parent = resolve_parent(path, last, 0);
    if (parent < 0)
        return blame(parent, "device", path);
    long done = SYS(mknodat, parent, last, mode, number);
    if (done == -EPERM && (mode & S_TYPE) != S_FIFO) {
        SYS(close, parent);
        return bind_device(path, path, mode, major, minor);
    }
    if (done >= 0 || done == -EEXIST)
        done = take_node(parent, last, mode, major, minor, uid, gid);
    SYS(close, parent);
    return done == -EEXIST ? blame(done, "something else is in the place of device", path)
           : done < 0      ? blame(done, "mknod", path) : 0;
}

long make_dir(struct plan *args)
{
    const char *path = next_string(args);
    unsigned mode = (unsigned)next_int(args);
    long fd = resolve(path, O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOENT && (fd = open_target(path, DIRECTORY, 0, 0)) >= 0 && mode != 0755) {
        long dir = SYS(openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        SYS(fchmod, dir, mode);
        SYS(close, dir);
    }
    if (fd >= 0)
        SYS(close, fd);
    return fd < 0 ? blame(fd, "mkdir", path) : 0;
}
