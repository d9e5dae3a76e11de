/* Paths that a container may not see or not change. */
#include "setup.h"

/* Hide a path: a directory under an empty read-only tmpfs, a file under the host's /dev/null, which must be what its
 * name says (CVE-2025-31133). */
long mask(struct plan *args)
{
    const char *path = next_string(args);
    long target = resolve(path, O_PATH, 0), mount;
    if (target < 0)
        return target == -ENOENT || target == -ENOTDIR || target == -EACCES ? 0 : blame(target, "mask", path);
    if (is_directory((int)target)) {
        long context = SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC);
        mount = context < 0 ? context : SYS(fsconfig, context, FSCONFIG_SET_STRING, "size", "0", 0);
        if (mount >= 0)
            mount = create_mount((int)context, path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        SYS(close, context);
    } else {
        struct statx st;
        long null = SYS(openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0);
        mount = null < 0 ? null : SYS(statx, null, "", AT_EMPTY_PATH, STATX_TYPE, &st);
        if (mount >= 0 && (st.stx_rdev_major != 1 || st.stx_rdev_minor != 3))
            mount = -ENODEV;
        if (mount >= 0)
            mount = SYS(open_tree, null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        SYS(close, null);
    }
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
