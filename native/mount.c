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

/* Propagation types one after the other, as mount(8) applies them: each flag word of mount(2). */
static long propagate(int mount, const uint64_t *types, int count, const char *path)
{
    long done = 0;
    for (int i = 0; done >= 0 && i < count; i++)
        done = set_attributes(mount, 0, 0, types[i] & ~(uint64_t)MS_REC, !!(types[i] & MS_REC));
    return done < 0 ? blame(done, "mount propagation", path) : 0;
}

static int next_types(struct plan *args, uint64_t types[8])
{
    int64_t count = next_int(args);
    for (int64_t i = 0; i < count; i++) {
        uint64_t type = (uint64_t)next_int(args);
        if (i < 8)
            types[i] = type;
    }
    return (int)(count < 8 ? count : 8);
}

static uint64_t target_resolution(uint64_t flags)
{
    return flags & MOUNT_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0;
}

/* A new file system, detached; where only the owner of a namespace may make it, the host's `fallback` is cloned. */
static long new_mount(const char *type, const char *source, const char *fallback, const char *path, uint64_t attributes,
                      const char **options)
{
    long context = SYS(fsopen, type, FSOPEN_CLOEXEC), mount = context;
    if (context < 0)
        blame(context, "fsopen", type);
    else if (*source && (mount = SYS(fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0)) < 0)
        blame_context((int)context, mount, "source", source);
    if (mount >= 0)
        mount = configure_context((int)context, options);
    if (mount >= 0)
        mount = create_mount((int)context, path, attributes);
    if (context >= 0)
        SYS(close, context);
    if (mount != -EPERM || !*fallback)
        return mount;
    mount = SYS(open_tree, AT_FDCWD, fallback, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    long done = mount < 0 ? mount : set_attributes((int)mount, attributes, 0, 0, 1);
    return done < 0 ? blame(done, "bind", fallback) : mount;
}

long mount_new(struct plan *args)
{
    uint64_t types[8];
    const char *type = next_string(args), *source = next_string(args), *path = next_string(args),
               *fallback = next_string(args);
    uint64_t flags = (uint64_t)next_int(args), attributes = (uint64_t)next_int(args);
    int count = next_types(args, types);
    next_list(args, list, LIST_ROOM);
    long target = open_target(path, DIRECTORY, 0, target_resolution(flags));
    if (target < 0)
        return blame(target, "mount target", path);
    /* Filled before it becomes read-only. */
    long mount = new_mount(type, source, fallback, path,
                           flags & MOUNT_COPY_UP ? attributes & ~(uint64_t)MOUNT_ATTR_RDONLY : attributes, list);
    long done = mount;
    if (mount >= 0 && flags & MOUNT_COPY_UP) {
        done = copy_up((int)target, (int)mount, path, !has_mode(list));
        if (done >= 0 && (done = set_attributes((int)mount, attributes, 0, 0, 0)) < 0)
            blame(done, "mount_setattr", path);
    }
    if (done >= 0 && (done = attach((int)mount, (int)target)) < 0)
        blame(done, "move_mount", path);
    if (done >= 0)
        done = propagate((int)mount, types, count, path);
    SYS(close, target);
    if (mount >= 0)
        SYS(close, mount);
    return done < 0 ? done : 0;
}

/* Options that change a mount which is there: its attributes, and the file system's own where any are given. */
long remount(struct plan *args)
{
    uint64_t types[8];
    const char *path = next_string(args);
    uint64_t set = (uint64_t)next_int(args), clear = (uint64_t)next_int(args), all_set = (uint64_t)next_int(args),
             all_clear = (uint64_t)next_int(args);
    int count = next_types(args, types);
    next_list(args, list, LIST_ROOM);
    long target = resolve(path, O_PATH, 0), done = target;
    if (done >= 0 && ((done = set_attributes((int)target, set, clear, 0, 0)) >= 0))
        done = set_attributes((int)target, all_set, all_clear, 0, 1);
    if (done < 0)
        blame(done, "remount", path);
    if (done >= 0 && *list) {
        long context = SYS(fspick, target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
        done = context < 0 ? blame(context, "remount", path) : configure_context((int)context, list);
        if (done >= 0 && (done = SYS(fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0)) < 0)
            blame_context((int)context, done, "remount", path);
        if (context >= 0)
            SYS(close, context);
    }
    if (done >= 0)
        done = propagate((int)target, types, count, path);
    if (target >= 0)
        SYS(close, target);
    return done < 0 ? done : 0;
}

/* The link at `source` made again at `path`: 1, or 0 if there is no link. */
static long copy_link(const char *source, const char *path)
{
    char content[PATH_MAX], there[PATH_MAX], name[256];
    long n = SYS(readlinkat, AT_FDCWD, source, content, sizeof content - 1);
    if (n < 0)
        return 0;
    content[n] = 0;
    long parent = resolve_parent(path, name, 0);
    long done = parent < 0 ? parent : SYS(symlinkat, content, parent, name);
    if (done == -EEXIST) {
        long m = SYS(readlinkat, parent, name, there, sizeof there);
        done = m == n && !memcmp(there, content, (size_t)n) ? 0 : -EEXIST;
    }
    if (parent >= 0)
        SYS(close, parent);
    return done < 0 ? blame(done, "symlink", path) : 1;
}

/* A detached clone of the tree at `source`, as our mount namespace has it. */
long open_source(const char *source, uint64_t flags)
{
    return SYS(open_tree, AT_FDCWD, source,
               OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & MOUNT_RECURSIVE ? AT_RECURSIVE : 0) |
                   (flags & MOUNT_SOURCE_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0));
}

static long chown_source(int mount, unsigned uid, unsigned gid)
{
    long tree = SYS(openat, mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long done = tree < 0 ? SYS(fchownat, mount, "", uid, gid, AT_EMPTY_PATH) : chown_tree((int)tree, uid, gid);
    if (tree >= 0)
        SYS(close, tree);
    return done;
}

static int is_there(const char *path, uint64_t resolution)
{
    long fd = resolve(path, O_PATH, resolution);
    if (fd >= 0)
        SYS(close, fd);
    return fd >= 0;
}

long bind(struct plan *args)
{
    uint64_t types[8];
    int64_t given = next_int(args);
    const char *source = next_string(args), *path = next_string(args);
    uint64_t flags = (uint64_t)next_int(args), set = (uint64_t)next_int(args), clear = (uint64_t)next_int(args),
             all_set = (uint64_t)next_int(args), all_clear = (uint64_t)next_int(args);
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    int count = next_types(args, types);
    if (flags & MOUNT_COPY_LINK) {
        long done = copy_link(source, path);
        if (done)
            return done < 0 ? done : 0;
    }
    /* Opened by ourselves where we may: what the host's mounts forbid is then locked for a user namespace. */
    long mount = flags & MOUNT_GIVEN ? -EACCES : open_source(source, flags);
    if (mount == -EACCES && given >= 0)
        mount = given_fd(given);
    if (mount < 0)
        return mount == -ENOENT && flags & MOUNT_OPTIONAL ? 0 : blame(mount, "bind", source);
    /* A target that is only made now has nothing to fill a volume with, nor an owner to give it. */
    int fill = flags & MOUNT_COPY_UP && is_there(path, target_resolution(flags));
    long target = open_target(path, is_directory((int)mount) ? DIRECTORY : ORDINARY,
                              flags & MOUNT_TARGET_NOFOLLOW ? O_NOFOLLOW : 0, target_resolution(flags));
    long done = target;
    if (done < 0)
        blame(done, "mount target", path);
    else if (is_directory((int)mount) != is_directory((int)target))
        done = blame(-ENOTDIR, is_directory((int)mount) ? "mount a directory on the file" : "mount a file on", path);
    if (done >= 0 && fill)
        done = copy_up((int)target, (int)mount, path, 1);
    if (done >= 0 && flags & MOUNT_CHOWN && (done = chown_source((int)mount, uid, gid)) < 0)
        blame(done, "chown", source);
    if (done >= 0 && ((done = set_attributes((int)mount, set, clear, 0, 0)) < 0 ||
                      (done = set_attributes((int)mount, all_set, all_clear, 0, 1)) < 0))
        blame(done, "mount_setattr", path);
    if (done >= 0 && (done = attach((int)mount, (int)target)) < 0)
        blame(done, "move_mount", path);
    if (done >= 0)
        done = propagate((int)mount, types, count, path);
    SYS(close, mount);
    if (target >= 0)
        SYS(close, target);
    return done < 0 ? done : 0;
}

/* What COPY_UP and CHOWN do to the source of a bind, for another runtime that mounts it. */
long prepare_source(struct plan *args)
{
    const char *source = next_string(args), *path = next_string(args);
    uint64_t flags = (uint64_t)next_int(args);
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    long mount = open_source(source, flags), done = 0;
    if (mount < 0)
        return mount == -ENOENT && flags & MOUNT_OPTIONAL ? 0 : blame(mount, "bind", source);
    if (flags & MOUNT_COPY_UP) {
        long target = open_target(path, is_directory((int)mount) ? DIRECTORY : ORDINARY, 0, target_resolution(flags));
        done = target < 0 ? blame(target, "mount target", path) : copy_up((int)target, (int)mount, path, 1);
        if (target >= 0)
            SYS(close, target);
    }
    if (done >= 0 && flags & MOUNT_CHOWN && (done = chown_source((int)mount, uid, gid)) < 0)
        blame(done, "chown", source);
    SYS(close, mount);
    return done < 0 ? done : 0;
}
