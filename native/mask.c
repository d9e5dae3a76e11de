/* Paths that a container may not see or not change. */
#include "setup.h"

static long empty_directory(void)
{
    static int first = -1; /* attached: it can be cloned */
    if (first >= 0)
        return SYS(open_tree, first, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    long context = SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC);
    long mount = context < 0 ? context : SYS(fsconfig, context, FSCONFIG_SET_STRING, "size", "0", 0);
    if (mount >= 0)
        mount = create_mount((int)context, "tmpfs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (context >= 0)
        SYS(close, context);
    if (mount >= 0)
        first = (int)SYS(fcntl, mount, F_DUPFD_CLOEXEC, 0);
    return mount;
}

static long null_device(void)
{
    static int null = -1;
    struct statx st;
    if (null < 0) {
        long fd = SYS(openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0);
        long done = fd < 0 ? fd : SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
        if (done < 0 || (st.stx_mode & 0170000) != 0020000 || st.stx_rdev_major != 1 || st.stx_rdev_minor != 3)
            return done < 0 ? done : -ENODEV;
        null = (int)fd;
    }
    return SYS(open_tree, null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
}

/* Hide a path: a directory under an empty read-only tmpfs, one for all; a file under the host's /dev/null, which must be
 * what its name says (CVE-2025-31133).  The path is resolved once, to a descriptor: what a race puts in its place later is
 * not what gets covered. */
long mask(struct plan *args)
{
    const char *path = next_string(args);
    long target = resolve(path, O_PATH, 0);
    if (target < 0)
        return target == -ENOENT || target == -ENOTDIR || target == -EACCES ? 0 : blame(target, "mask", path);
    long mount = is_directory((int)target) ? empty_directory() : null_device();
    long done = mount < 0 ? mount : attach((int)mount, (int)target);
    if (mount >= 0)
        SYS(close, mount);
    SYS(close, target);
    return done < 0 ? blame(done, "mask", path) : 0;
}

long read_only(struct plan *args)
{
    const char *path = next_string(args);
    long target = resolve(path, O_PATH, 0);
    if (target < 0)
        return target == -ENOENT || target == -ENOTDIR || target == -EACCES ? 0 : blame(target, "read-only", path);
    struct statx st;
    if (SYS(statx, target, "", AT_EMPTY_PATH, STATX_TYPE, &st) >= 0 && st.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
        long done = set_attributes((int)target, MOUNT_ATTR_RDONLY, 0, 0, 1);
        SYS(close, target);
        return done < 0 ? blame(done, "read-only", path) : 0;
    }
    long mount = SYS(open_tree, target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    long done = mount < 0 ? mount : set_attributes((int)mount, MOUNT_ATTR_RDONLY, 0, 0, 1);
    if (done >= 0)
        done = attach((int)mount, (int)target);
    if (mount >= 0)
        SYS(close, mount);
    SYS(close, target);
    return done < 0 ? blame(done, "read-only", path) : 0;
}
