/* Image layers that are an EROFS index of a tar: mounted once for all containers, as long as one of them lives.
 *
 * The protocol is that of storage/layers.py: whoever uses a layer holds a shared lock (here a descriptor that came with
 * the plan); the first of them mounts it under an exclusive lock on its directory; who can turn the shared lock into an
 * exclusive one was the last and takes the mount off.
 */
#include "monitor.h"

#define LOCK_EX 2
#define LOCK_NB 4

static int is_mounted(const char *mount_point)
{
    struct statx st;
    return SYS(statx, AT_FDCWD, mount_point, 0, STATX_TYPE, &st) >= 0 &&
           st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static long mount_layer(const char *index, const char *tar, const char *mount_point)
{
    long context = SYS(fsopen, "erofs", FSOPEN_CLOEXEC), done = context, mount = -1;
    if (done >= 0)
        done = SYS(fsconfig, context, FSCONFIG_SET_STRING, "source", index, 0);
    if (done >= 0)
        done = SYS(fsconfig, context, FSCONFIG_SET_STRING, "device", tar, 0);
    if (done >= 0)
        done = SYS(fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0);
    if (done >= 0)
        done = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (done >= 0)
        done = mount = SYS(fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (done >= 0)
        done = SYS(move_mount, mount, "", AT_FDCWD, mount_point, MOVE_MOUNT_F_EMPTY_PATH);
    if (mount >= 0)
        SYS(close, mount);
    if (context >= 0)
        SYS(close, context);
    return done < 0 ? blame(done, "mount layer", index) : 0;
}

long hold_layer(struct plan *args)
{
    int lock = (int)next_int(args);
    const char *directory = next_string(args), *index = next_string(args), *tar = next_string(args),
               *mount_point = next_string(args);
    if (config.layer_count == LAYERS)
        return blame(-E2BIG, "mount layer", index);
    config.layers[config.layer_count].lock = lock;
    config.layers[config.layer_count++].mount_point = mount_point;
    if (is_mounted(mount_point))
        return 0;
    SYS(mkdirat, AT_FDCWD, mount_point, 0700);
    long fd = SYS(openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return blame(fd, "open layer", directory);
    long done = SYS(flock, fd, LOCK_EX);
    if (done >= 0 && !is_mounted(mount_point))
        done = mount_layer(index, tar, mount_point);
    SYS(close, fd);
    return done;
}

void release_layers(void)
{
    while (config.layer_count) {
        config.layer_count--;
        const char *mount_point = config.layers[config.layer_count].mount_point;
        int lock = config.layers[config.layer_count].lock;
        /* For another runtime the monitor has a mount namespace of its own, from which this cannot be done. */
        if (!config.external && SYS(flock, lock, LOCK_EX | LOCK_NB) >= 0 && is_mounted(mount_point) &&
            SYS(umount2, mount_point, MNT_DETACH | 8 /* UMOUNT_NOFOLLOW */) >= 0)
            SYS(unlinkat, AT_FDCWD, mount_point, AT_REMOVEDIR);
        SYS(close, lock);
    }
}
