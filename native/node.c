/* Device nodes, links and directories of the container. */
#include "setup.h"

long symlink(struct plan *args)
{
    const char *content = next_string(args), *path = next_string(args), *last;
    long parent = resolve_parent(path, &last, 0);
    if (parent < 0)
        return blame(parent, "symlink", path);
    long done = SYS(symlinkat, content, parent, last);
    SYS(close, parent);
    return done < 0 && done != -EEXIST ? blame(done, "symlink", path) : 0;
}

long device(struct plan *args)
{
    const char *path = next_string(args), *last;
    unsigned mode = (unsigned)next_int(args), major = (unsigned)next_int(args), minor = (unsigned)next_int(args);
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    unsigned number = (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
    long parent = resolve_parent(path, &last, 0);
    if (parent < 0)
        return blame(parent, "device", path);
    long done = SYS(mknodat, parent, last, mode, number);
    if (done == -EEXIST) {
        SYS(unlinkat, parent, last, 0);
        done = SYS(mknodat, parent, last, mode, number);
    }
    if (done >= 0)
        done = SYS(fchownat, parent, last, uid, gid, AT_SYMLINK_NOFOLLOW);
    if (done >= 0)
        done = SYS(fchmodat, parent, last, mode & 07777); /* the mask had its say at creation */
    SYS(close, parent);
    return done < 0 ? blame(done, "mknod", path) : 0;
}

long make_dir(struct plan *args)
{
    const char *path = next_string(args);
    unsigned mode = (unsigned)next_int(args);
    long fd = resolve(path, O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOENT && (fd = open_target(path, DIRECTORY, 0)) >= 0 && mode != 0755) {
        long dir = SYS(openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        SYS(fchmod, dir, mode);
        SYS(close, dir);
    }
    if (fd >= 0)
        SYS(close, fd);
    return fd < 0 ? blame(fd, "mkdir", path) : 0;
}
