/* The operations that make a container's namespaces and root file system, carried out by its first process.
 *
 * Mounts are made detached (fsmount, open_tree) and attached by descriptor to a target that was resolved inside the
 * root (openat2 with RESOLVE_IN_ROOT): no path of the image is ever followed by name.
 */
#include "plan.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define LIST_ROOM 600 /* layers and options; the kernel takes 500 lowers */

static const char *list[LIST_ROOM];

static long resolve(const char *path, uint64_t flags, uint64_t how_resolve)
{
    struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = IN_ROOT | how_resolve };
    while (*path == '/')
        path++;
    long fd, tries = 0;
    do
        fd = SYS(openat2, setup.root, *path ? path : ".", &how, sizeof how);
    while (fd == -EAGAIN && tries++ < 100); /* a rename raced with the resolution */
    return fd;
}

/* The directory that holds `path` (made where missing) as a descriptor, and its last component. */
static long resolve_parent(const char *path, const char **last, uint64_t how_resolve)
{
    TEXT(prefix, PATH_MAX);
    while (*path == '/')
        path++;
    long dir = resolve("", O_PATH | O_DIRECTORY, how_resolve);
    while (dir >= 0) {
        const char *slash = find_char(path, '/');
        while (slash && slash[1] == '/')
            slash++;
        if (!slash || !slash[1]) {
            *last = path;
            return dir;
        }
        size_t size = (size_t)(find_char(path, '/') - path);
        char name[256];
        if (size >= sizeof name)
            return -ENAMETOOLONG;
        memcpy(name, path, size);
        name[size] = 0;
        put(&prefix, name);
        long next = resolve(prefix.at, O_PATH | O_DIRECTORY, how_resolve);
        if (next == -ENOENT) {
            /* A dangling link is refused here with EEXIST: mkdirat does not follow it. */
            next = SYS(mkdirat, dir, name, 0755);
            if (next >= 0 || next == -EEXIST)
                next = resolve(prefix.at, O_PATH | O_DIRECTORY, how_resolve);
        }
        SYS(close, dir);
        dir = next;
        put(&prefix, "/");
        path = slash + 1;
    }
    return dir;
}

enum kind { DIRECTORY, ORDINARY };

/* A mount target inside the root, made where missing, as an O_PATH descriptor. */
static long open_target(const char *path, enum kind kind, uint64_t how_resolve)
{
    long fd = resolve(path, O_PATH, how_resolve);
    if (fd != -ENOENT)
        return fd;
    const char *last;
    long parent = resolve_parent(path, &last, how_resolve);
    if (parent < 0)
        return parent;
    char name[256];
    size_t size = strlen(last);
    while (size && last[size - 1] == '/')
        size--;
    if (!size || size >= sizeof name) {
        SYS(close, parent);
        return size ? -ENAMETOOLONG : -EINVAL;
    }
    memcpy(name, last, size);
    name[size] = 0;
    if (kind == DIRECTORY)
        fd = SYS(mkdirat, parent, name, 0755);
    else if ((fd = SYS(openat, parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) >= 0)
        SYS(close, fd);
    SYS(close, parent);
    return fd < 0 && fd != -EEXIST ? fd : resolve(path, O_PATH, how_resolve);
}

static int is_directory(int fd)
{
    struct statx st;
    return SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) >= 0 && (st.stx_mode & 0170000) == 0040000;
}

static long set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
    struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
    if (clear & MOUNT_ATTR__ATIME || set & MOUNT_ATTR__ATIME)
        attr.attr_clr |= MOUNT_ATTR__ATIME;
    if (!attr.attr_set && !attr.attr_clr && !attr.propagation)
        return 0;
    return SYS(mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static long attach(int mount, int target)
{
    return SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* The kernel's own words about a failed mount, from the file system context. */
static long blame_context(int context, long error, const char *call, const char *object)
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

static long configure_context(int context, const char **options)
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

static long create_mount(int context, const char *object, uint64_t attributes)
{
    long fd = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (fd < 0)
        return blame_context(context, fd, "mount", object);
    fd = SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
    return fd < 0 ? blame_context(context, fd, "fsmount", object) : fd;
}

/* A clone of the mount at `path` whose ids are mapped by the user namespace. */
static long idmapped(const char *path, int user_namespace)
{
    long fd = SYS(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return blame(fd, "open_tree", path);
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
    long done = SYS(mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
    return done < 0 ? blame(done, "mount_setattr", path) : fd;
}

/* A detached overlay mount.  With a user namespace (else -1), its lowers are idmapped clones. */
long make_overlay(struct plan *args, int user_namespace)
{
    const char *upper = next_string(args), *work = next_string(args);
    static int mapped[LIST_ROOM];
    int count = 0;
    long context = SYS(fsopen, "overlay", FSOPEN_CLOEXEC), done;
    if (context < 0)
        return blame(context, "fsopen", "overlay");
    next_list(args, list, LIST_ROOM);
    done = configure_context((int)context, list);
    next_list(args, list, LIST_ROOM);
    for (const char **lower = list; done >= 0 && *lower; lower++) {
        if (user_namespace < 0) {
            done = SYS(fsconfig, context, FSCONFIG_SET_STRING, "lowerdir+", *lower, 0);
        } else if ((done = idmapped(*lower, user_namespace)) >= 0) {
            /* Open until the overlay is made: a detached mount is dissolved when its last descriptor goes. */
            mapped[count++] = (int)done;
            done = SYS(fsconfig, context, FSCONFIG_SET_FD, "lowerdir+", NULL, done);
        }
        if (done < 0 && !failure.error)
            blame_context((int)context, done, "overlay lowerdir", *lower);
    }
    if (done >= 0 && *upper) {
        /* What was once used without syncing may be used again: that is for who describes the mount to decide. */
        TEXT(marker, PATH_MAX);
        put(&marker, work);
        put(&marker, "/work/incompat/volatile");
        remove_tree(marker.at);
        done = SYS(fsconfig, context, FSCONFIG_SET_STRING, "upperdir", upper, 0);
        if (done >= 0)
            done = SYS(fsconfig, context, FSCONFIG_SET_STRING, "workdir", work, 0);
        if (done < 0)
            blame_context((int)context, done, "overlay upperdir", upper);
    }
    if (done >= 0)
        done = create_mount((int)context, "overlay", 0);
    while (count)
        SYS(close, mapped[--count]);
    SYS(close, context);
    return done;
}

static long root_is(long fd)
{
    if (fd < 0)
        return fd;
    setup.root = (int)fd;
    return 0;
}

static long root_bind(struct plan *args)
{
    const char *path = next_string(args);
    int recursive = (int)next_int(args);
    long fd = SYS(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
    return fd < 0 ? blame(fd, "open_tree", path) : root_is(fd);
}

static long root_attach(struct plan *args)
{
    const char *path = next_string(args);
    long done = SYS(move_mount, setup.root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
    setup.attached = path;
    return done < 0 ? blame(done, "move_mount", path) : 0;
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

static long mount_new(struct plan *args)
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

static long bind(struct plan *args)
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

static long symlink(struct plan *args)
{
    const char *content = next_string(args), *path = next_string(args), *last;
    long parent = resolve_parent(path, &last, 0);
    if (parent < 0)
        return blame(parent, "symlink", path);
    long done = SYS(symlinkat, content, parent, last);
    SYS(close, parent);
    return done < 0 && done != -EEXIST ? blame(done, "symlink", path) : 0;
}

static long device(struct plan *args)
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

static long make_dir(struct plan *args)
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

/* A new terminal in the container's own devpts; its master goes to the monitor, its slave becomes stdio.
 * The multiplexer must be the device the kernel made, whatever the image put in its place (CVE-2025-52565). */
static long console(struct plan *args)
{
    struct winsize { unsigned short rows, columns, x, y; } size = { 0 };
    size.rows = (unsigned short)next_int(args);
    size.columns = (unsigned short)next_int(args);
    unsigned uid = (unsigned)next_int(args);
    int bind_console = (int)next_int(args), unlock = 0;
    struct open_how how = { .flags = O_RDWR | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
    long master = SYS(openat2, setup.root >= 0 ? setup.root : AT_FDCWD, setup.root >= 0 ? "dev/pts/ptmx" : "/dev/pts/ptmx",
                      &how, sizeof how);
    if (master < 0)
        return blame(master, "open", "/dev/pts/ptmx");
    struct statx st;
    long done = SYS(statx, master, "", AT_EMPTY_PATH, STATX_TYPE, &st);
    if (done < 0 || st.stx_rdev_major != 5 || st.stx_rdev_minor != 2)
        return blame(done < 0 ? done : -ENOTTY, "terminal multiplexer", "/dev/pts/ptmx");
    if ((done = SYS(ioctl, master, TIOCSPTLCK, &unlock)) < 0)
        return blame(done, "unlock", "terminal");
    long slave = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    if (slave < 0)
        return blame(slave, "open", "terminal");
    if (size.rows)
        SYS(ioctl, slave, TIOCSWINSZ, &size);
    SYS(fchown, slave, uid, -1);
    if (bind_console) {
        long mount = SYS(open_tree, slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        long target = mount < 0 ? mount : open_target("/dev/console", ORDINARY, RESOLVE_NO_SYMLINKS);
        done = target < 0 ? target : attach((int)mount, (int)target);
        if (mount >= 0)
            SYS(close, mount);
        if (target >= 0)
            SYS(close, target);
        if (done < 0)
            return blame(done, "bind", "/dev/console");
    }
    char say = SAY_TERMINAL;
    if ((done = send_fd(setup.channel, &say, 1, (int)master)) < 0)
        return blame(done, "send", "terminal");
    SYS(close, master);
    SYS(ioctl, slave, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; fd++)
        SYS(dup3, slave, fd, 0);
    SYS(close, slave);
    return 0;
}

/* Hide a path: a directory under an empty read-only tmpfs, a file under the host's /dev/null, which must be what its
 * name says (CVE-2025-31133). */
static long mask(struct plan *args)
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

static long read_only(struct plan *args)
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

static long pivot(struct plan *args)
{
    int no_pivot = (int)next_int(args);
    long done = SYS(fchdir, setup.root);
    if (done >= 0 && no_pivot) {
        done = SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
        if (done >= 0)
            done = SYS(chroot, ".");
    } else if (done >= 0) {
        /* The old root is stacked on the new one and then let go; its mounts must not hear of that. */
        done = SYS(pivot_root, ".", ".");
        if (done >= 0)
            done = SYS(mount, "", ".", "", MS_SLAVE | MS_REC, NULL);
        if (done >= 0)
            done = SYS(umount2, ".", MNT_DETACH);
    }
    if (done >= 0)
        done = SYS(chdir, "/");
    if (done < 0)
        return blame(done, "pivot_root", "");
    SYS(close, setup.root);
    setup.root = -1;
    return 0;
}

static long root_read_only(void)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
    long done = SYS(mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof attr);
    return done < 0 ? blame(done, "mount_setattr", "/") : 0;
}

static long join(struct plan *args)
{
    const char *path = next_string(args);
    int type = (int)next_int(args);
    long fd = SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return blame(fd, "open", path);
    long done = SYS(setns, fd, type);
    SYS(close, fd);
    return done < 0 ? blame(done, "setns", path) : 0;
}

static long loopback(void)
{
    struct { char name[16]; short flags; char rest[22]; } request = { .name = "lo" };
    long fd = SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), done = fd;
    if (fd >= 0) {
        done = SYS(ioctl, fd, 0x8913 /* SIOCGIFFLAGS */, &request);
        request.flags |= 1 /* IFF_UP */;
        if (done >= 0)
            done = SYS(ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &request);
        SYS(close, fd);
    }
    return done < 0 ? blame(done, "bring up", "lo") : 0;
}

static long sysctl(struct plan *args)
{
    const char *key = next_string(args), *value = next_string(args);
    TEXT(path, 512);
    put(&path, "/proc/sys/");
    put(&path, key);
    long done = write_file(path.at, value, strlen(value));
    return done < 0 ? blame(done, "sysctl", key) : 0;
}

static long named(long done, const char *call, const char *object)
{
    return done < 0 ? blame(done, call, object) : 0;
}

long perform(struct operation_record *operation)
{
    struct plan *args = &operation->args;
    const char *text;
    int64_t number;
    setup.operation = operation->code;
    switch (operation->code) {
    case OP_JOIN:
        return join(args);
    case OP_JOIN_FD:
        number = next_int(args);
        return named(SYS(setns, number, next_int(args)), "setns", "the container's namespaces");
    case OP_UNSHARE:
        return named(SYS(unshare, next_int(args)), "unshare", "");
    case OP_HOSTNAME:
        text = next_string(args);
        return named(SYS(sethostname, text, strlen(text)), "sethostname", text);
    case OP_DOMAINNAME:
        text = next_string(args);
        return named(SYS(setdomainname, text, strlen(text)), "setdomainname", text);
    case OP_LOOPBACK:
        return loopback();
    case OP_SYSCTL:
        return sysctl(args);
    case OP_TIME_OFFSETS:
        text = next_string(args);
        return named(write_file("/proc/self/timens_offsets", text, strlen(text)), "write", "timens_offsets");
    case OP_PROPAGATION:
        text = next_string(args);
        return named(SYS(mount, "", text, "", next_int(args), NULL), "mount propagation", text);
    case OP_ROOT_OVERLAY:
        return root_is(make_overlay(args, -1));
    case OP_ROOT_BIND:
        return root_bind(args);
    case OP_ROOT_GIVEN:
        return root_is(setup.given >= 0 ? setup.given : blame(-EBADF, "root", "given"));
    case OP_ROOT_ATTACH:
        return root_attach(args);
    case OP_MOUNT:
        return mount_new(args);
    case OP_BIND:
        return bind(args);
    case OP_SYMLINK:
        return symlink(args);
    case OP_DEVICE:
        return device(args);
    case OP_MKDIR:
        return make_dir(args);
    case OP_CONSOLE:
        return console(args);
    case OP_MASK:
        return mask(args);
    case OP_READONLY:
        return read_only(args);
    case OP_PIVOT:
        return pivot(args);
    case OP_ROOT_READONLY:
        return root_read_only();
    default:
        return perform_process(operation);
    }
}
