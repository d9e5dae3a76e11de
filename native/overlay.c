/* The root file system made of layers: a detached overlay mount.
 *
 * Since Linux 6.8 the kernel takes layers one by one (lowerdir+), as descriptors too.  Before, it takes one text, "a:b:c":
 * there the layers are named by the numbers of descriptors, with /proc/self/fd as the working directory, which leaves
 * nothing to escape and lets some eighty of them fit into the 255 bytes of one parameter; for more there is mount(2). */
#include "setup.h"

#ifndef OVERLAY_CLASSIC
#define OVERLAY_CLASSIC 0 /* 1: as if the kernel were older, for tests */
#endif

static const char *options[64], *lowers[LIST_ROOM];
static int fds[LIST_ROOM + 2], fd_count;

/* Mapped layers are detached mounts, which overlayfs takes since 6.15. */
static int takes_single_layers(int mapped)
{
    struct { char system[65], node[65], release[65], version[65], machine[65], domain[65]; } name;
    long number[2] = { 0, 0 };
    SYS(uname, &name);
    const char *at = name.release;
    for (int i = 0; i < 2; i++) {
        for (; *at >= '0' && *at <= '9'; at++)
            number[i] = number[i] * 10 + (*at - '0');
        if (*at == '.')
            at++;
    }
    return !OVERLAY_CLASSIC && (number[0] > 6 || (number[0] == 6 && number[1] >= (mapped ? 15 : 8)));
}

static void forget_descriptors(void)
{
    while (fd_count)
        SYS(close, fds[--fd_count]);
}

/* Open until the overlay is made: a detached mount is dissolved when its last descriptor goes. */
static long remember(long fd)
{
    if (fd >= 0)
        fds[fd_count++] = (int)fd;
    return fd;
}

static long open_layer(const char *path)
{
    long fd = remember(SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    return fd < 0 ? blame(fd, "open", path) : fd;
}

/* A clone of the mount at `path` whose ids are mapped by the user namespace. */
static long map_layer(const char *path, int user_namespace)
{
    long fd = remember(SYS(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (fd < 0)
        return blame(fd, "open_tree", path);
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
    long done = SYS(mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
    return done < 0 ? blame(done, "mount_setattr", path) : fd;
}

static long set_string(int context, const char *key, const char *value)
{
    long done = SYS(fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
    return done < 0 ? blame_context(context, done, key, value) : 0;
}

/* A path as a parameter, which may have 255 bytes: a longer one is named by a descriptor. */
static long set_path(int context, const char *key, const char *path)
{
    if (strlen(path) < 256)
        return set_string(context, key, path);
    long fd = open_layer(path);
    TEXT(name, 64);
    put(&name, "/proc/self/fd/");
    put_number(&name, fd);
    return fd < 0 ? fd : set_string(context, key, name.at);
}

static long layer_by_layer(const char *upper, const char *work, int user_namespace)
{
    long context = SYS(fsopen, "overlay", FSOPEN_CLOEXEC);
    if (context < 0)
        return blame(context, "fsopen", "overlay");
    long done = configure_context((int)context, options);
    for (const char **lower = lowers; done >= 0 && *lower; lower++) {
        if (user_namespace < 0)
            done = set_path((int)context, "lowerdir+", *lower);
        else if ((done = map_layer(*lower, user_namespace)) >= 0 &&
                 (done = SYS(fsconfig, context, FSCONFIG_SET_FD, "lowerdir+", NULL, done)) < 0)
            blame_context((int)context, done, "overlay lowerdir", *lower);
    }
    if (done >= 0 && *upper && (done = set_path((int)context, "upperdir", upper)) >= 0)
        done = set_path((int)context, "workdir", work);
    if (done >= 0)
        done = create_mount((int)context, "overlay", 0);
    SYS(close, context);
    return done;
}

/* A comma ends an option unless it is quoted: a label for SELinux has one. */
static void put_option(struct text *text, const char *option)
{
    const char *value = find_char(option, '=');
    if (!value || !find_char(value, ',')) {
        put(text, option);
        return;
    }
    put_bytes(text, option, (size_t)(value + 1 - option));
    put(text, "\"");
    put(text, value + 1);
    put(text, "\"");
}

/* mount(2), onto the topmost layer, for want of a better place; what was mounted is then taken from there. */
static long by_option_text(const char *layers, const char *upper, const char *work)
{
    TEXT(text, 4096);
    size_t size = strlen(layers) + 64;
    put(&text, "lowerdir=");
    put(&text, layers);
    if (*upper) {
        put(&text, ",upperdir=");
        put(&text, upper);
        put(&text, ",workdir=");
        put(&text, work);
    }
    for (const char **option = options; *option; option++) {
        size += strlen(*option) + 3;
        put(&text, ",");
        put_option(&text, *option);
    }
    if (size >= sizeof text_buffer)
        return blame(-E2BIG, "overlay of so many layers", "");
    long done = SYS(mount, "overlay", lowers[0], "overlay", 0, text.at);
    if (done < 0)
        return blame(done, "mount", "overlay");
    done = SYS(open_tree, AT_FDCWD, lowers[0], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    SYS(umount2, lowers[0], MNT_DETACH);
    return done < 0 ? blame(done, "open_tree", "overlay") : done;
}

static long by_context(const char *layers, const char *upper, const char *work)
{
    long context = SYS(fsopen, "overlay", FSOPEN_CLOEXEC);
    if (context < 0)
        return blame(context, "fsopen", "overlay");
    long done = configure_context((int)context, options);
    if (done >= 0)
        done = set_string((int)context, "lowerdir", layers);
    if (done >= 0 && *upper && (done = set_string((int)context, "upperdir", upper)) >= 0)
        done = set_string((int)context, "workdir", work);
    if (done >= 0)
        done = create_mount((int)context, "overlay", 0);
    SYS(close, context);
    return done;
}

static long all_in_one_text(const char *upper, const char *work)
{
    TEXT(layers, 4096);
    TEXT(upper_number, 16);
    TEXT(work_number, 16);
    long here = SYS(openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), done = here;
    for (int i = 0; i < fd_count; i++) {
        put(&layers, i ? ":" : "");
        put_number(&layers, fds[i]);
    }
    if (done >= 0 && *upper && (done = open_layer(upper)) >= 0) {
        put_number(&upper_number, done);
        done = open_layer(work);
        put_number(&work_number, done);
    }
    if (done >= 0 && (done = SYS(chdir, "/proc/self/fd")) < 0)
        blame(done, "chdir to", "/proc/self/fd");
    if (done >= 0)
        done = (layers.used < 256 ? by_context : by_option_text)(layers.at, upper_number.at, work_number.at);
    if (here >= 0) {
        SYS(fchdir, here);
        SYS(close, here);
    }
    return done;
}

/* Layers named in a text must be mounted where the overlay is made; mapped ones are mounted on a file system of their own. */
static long attach_mapped(int user_namespace)
{
    long done = SYS(unshare, CLONE_NEWNS), table = -1;
    if (done >= 0)
        done = SYS(mount, "", "/", "", MS_REC | MS_PRIVATE, NULL);
    if (done >= 0)
        done = SYS(mount, "tmpfs", "/dev", "tmpfs", 0, NULL);
    if (done >= 0)
        done = table = SYS(openat, AT_FDCWD, "/dev", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (done < 0)
        return blame(done, "make a place for", "mapped layers");
    for (const char **lower = lowers; done >= 0 && *lower; lower++) {
        TEXT(name, 16);
        put_number(&name, lower - lowers);
        if ((done = map_layer(*lower, user_namespace)) < 0)
            return done;
        long mount = done;
        done = SYS(mkdirat, table, name.at, 0700);
        if (done >= 0)
            done = SYS(move_mount, mount, "", table, name.at, MOVE_MOUNT_F_EMPTY_PATH);
    }
    SYS(close, table);
    return done < 0 ? blame(done, "mount", "a mapped layer") : 0;
}

/* The same with mapped layers, by a process with a mount namespace of its own: ours is the host's. */
static long mapped_apart(const char *upper, const char *work, int user_namespace)
{
    int line[2], mount = -1, status;
    long done = SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line);
    if (done < 0)
        return blame(done, "socketpair", "");
    long pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        done = attach_mapped(user_namespace);
        if (done >= 0)
            done = all_in_one_text(upper, work);
        send_fd(line[1], &failure, sizeof failure, done < 0 ? -1 : (int)done);
        leave(0);
    }
    SYS(close, line[1]);
    done = pid < 0 ? blame(pid, "fork", "") : receive_fd(line[0], &failure, sizeof failure, &mount);
    SYS(close, line[0]);
    if (pid > 0)
        SYS(wait4, pid, &status, WALL, NULL);
    if (done <= 0 || mount < 0)
        return failure.error ? -failure.error : blame(-ECHILD, "make", "the overlay");
    failure.error = 0;
    return mount;
}

static long classic(const char *upper, const char *work, int user_namespace)
{
    if (user_namespace >= 0)
        return mapped_apart(upper, work, user_namespace);
    for (const char **lower = lowers; *lower; lower++) {
        long fd = open_layer(*lower);
        if (fd < 0)
            return fd;
    }
    return all_in_one_text(upper, work);
}

/* A detached overlay mount.  With a user namespace (else -1), its lowers are idmapped clones. */
long make_overlay(struct plan *args, int user_namespace)
{
    const char *upper = next_string(args), *work = next_string(args);
    next_list(args, options, sizeof options / sizeof *options);
    next_list(args, lowers, LIST_ROOM);
    if (*upper) {
        /* What was once used without syncing may be used again: that is for who describes the mount to decide. */
        TEXT(marker, PATH_MAX);
        put(&marker, work);
        put(&marker, "/work/incompat/volatile");
        remove_tree(marker.at);
    }
    long done = (takes_single_layers(user_namespace >= 0) ? layer_by_layer : classic)(upper, work, user_namespace);
    forget_descriptors();
    return done;
}
