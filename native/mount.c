/* New mounts and binds.  They are made detached (fsmount, open_tree) and attached by descriptor to a target that was
 * resolved inside the root: no path of the image is ever followed by name. */
#include "setup.h"

static const char *list[LIST_ROOM];

long set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
    struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
    if (clear & MOUNT_ATTR__ATIME || set & MOUNT_ATTR__ATIME)
        attr.attr_clr |= MOUNT_ATTR__ATIME;
    if (!attr.attr_set && !attr.attr_clr && !attr.propagation)
        return 0;
    return SYS(mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

long attach(int mount, int target)
{
    return SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* The kernel's own words about a failed mount, from the file system context. */
long blame_context(int context, long error, const char *call, const char *object)
{
    char words[200];
    long n = SYS(read, context, words, sizeof words - 1);
    if (n <= 2)
        return blame(error, call, object);
    words[words[n - 1] == '\n' ? n - 1 : n] = 0;
    TEXT(text, 400);
    put(&text, object);
    put(&text, " (");
    put(&text, words + 2);
    put(&text, ")");
    return blame(error, call, text.at);
}

long configure_context(int context, const char **options)
{
    for (; *options; options++) {
        const char *equals = find_char(*options, '=');
        long done;
        if (equals) {
            TEXT(key, 64);
            put_bytes(&key, *options, (size_t)(equals - *options));
            done = SYS(fsconfig, context, FSCONFIG_SET_STRING, key.at, equals + 1, 0);
        } else {
            done = SYS(fsconfig, context, FSCONFIG_SET_FLAG, *options, NULL, 0);
        }
        if (done < 0)
            return blame_context(context, done, "fsconfig", *options);
    }
    return 0;
}

long create_mount(int context, const char *object, uint64_t attributes)
{
    long fd = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (fd < 0)
        return blame_context(context, fd, "mount", object);
    fd = SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
    return fd < 0 ? blame_context(context, fd, "fsmount", object) : fd;
}

static long copy_up(int from_target, int to_mount, const char *path, int with_top)
{
    long from = SYS(openat, from_target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (from < 0)
        return from == -ENOTDIR ? 0 : from;
    long to = SYS(openat, to_mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long done = to;
    if (to >= 0 && is_empty_dir((int)to))
        done = copy_tree((int)from, (int)to, with_top);
    SYS(close, from);
    if (to >= 0)
        SYS(close, to);
    return done < 0 ? blame(done, "copy up", path) : 0;
}

static int has_mode(const char **options)
{
    for (; *options; options++)
        if (starts_with(*options, "mode="))
            return 1;
    return 0;
}

long mount_new(struct plan *args)
{
    const char *type = next_string(args), *source = next_string(args), *path = next_string(args);
    uint64_t flags = (uint64_t)next_int(args), attributes = (uint64_t)next_int(args),
             propagation = (uint64_t)next_int(args);
    next_list(args, list, LIST_ROOM);
    long target = open_target(path, DIRECTORY, flags & MOUNT_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0);
    if (target < 0)
        return blame(target, "mount target", path);
    long context = SYS(fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0) {
        SYS(close, target);
        return blame(context, "fsopen", type);
    }
    long mount = *source ? SYS(fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0) : 0;
    if (mount < 0)
        blame_context((int)context, mount, "source", source);
    else
        mount = configure_context((int)context, list);
    /* Filled before it becomes read-only. */
    if (mount >= 0)
        mount = create_mount((int)context, path, flags & MOUNT_COPY_UP ? attributes & ~(uint64_t)1 : attributes);
    long done = mount;
    if (mount >= 0 && flags & MOUNT_COPY_UP)
        done = copy_up((int)target, (int)mount, path, !has_mode(list));
    if (done >= 0 && (done = set_attributes((int)mount, flags & MOUNT_COPY_UP ? attributes : 0, 0, 0, 0)) < 0)
        blame(done, "mount_setattr", path);
    if (done >= 0 && (done = attach((int)mount, (int)target)) < 0)
        blame(done, "move_mount", path);
    if (done >= 0 && propagation && (done = set_attributes((int)mount, 0, 0, propagation, 1)) < 0)
        blame(done, "mount propagation", path);
    SYS(close, context);
    SYS(close, target);
    if (mount >= 0)
        SYS(close, mount);
    return done < 0 ? done : 0;
}

long bind(struct plan *args)
{
    const char *source = next_string(args), *path = next_string(args);
    uint64_t flags = (uint64_t)next_int(args), set = (uint64_t)next_int(args), clear = (uint64_t)next_int(args),
             all_set = (uint64_t)next_int(args), all_clear = (uint64_t)next_int(args),
             propagation = (uint64_t)next_int(args);
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    long mount = SYS(open_tree, AT_FDCWD, source,
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & MOUNT_RECURSIVE ? AT_RECURSIVE : 0));
    if (mount < 0)
        return mount == -ENOENT && flags & MOUNT_OPTIONAL ? 0 : blame(mount, "bind", source);
    long target = open_target(path, is_directory((int)mount) ? DIRECTORY : ORDINARY, 0), done = target;
    if (done < 0)
        blame(done, "mount target", path);
    if (done >= 0 && flags & MOUNT_COPY_UP)
        done = copy_up((int)target, (int)mount, path, 1);
    if (done >= 0 && flags & MOUNT_CHOWN) {
        long tree = SYS(openat, mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        done = tree < 0 ? SYS(fchownat, mount, "", uid, gid, AT_EMPTY_PATH) : chown_tree((int)tree, uid, gid);
        if (tree >= 0)
            SYS(close, tree);
        if (done < 0)
            blame(done, "chown", source);
    }
    if (done >= 0 && ((done = set_attributes((int)mount, set, clear, 0, 0)) < 0 ||
                      (done = set_attributes((int)mount, all_set, all_clear, propagation, 1)) < 0))
        blame(done, "mount_setattr", path);
    if (done >= 0 && (done = attach((int)mount, (int)target)) < 0)
        blame(done, "move_mount", path);
    SYS(close, mount);
    if (target >= 0)
        SYS(close, target);
    return done < 0 ? done : 0;
}
