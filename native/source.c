/* Mounts that the monitor makes for the container's process: sources it may open and the other may not, and those whose ids
 * are mapped, for which one must own the file system.  They travel as descriptors of detached mounts. */
#include "monitor.h"
#include "setup.h"

long given_fd(int64_t index)
{
    return index < setup.given_count && setup.given[index] >= 0 ? setup.given[index] : -ENOENT;
}

static long namespace_of(int pid)
{
    TEXT(path, 64);
    put(&path, "/proc/");
    put_number(&path, pid);
    put(&path, "/ns/user");
    return SYS(openat, AT_FDCWD, path.at, O_RDONLY | O_CLOEXEC, 0);
}

static long write_map(int pid, const char *name, const char *map)
{
    TEXT(path, 64);
    put(&path, "/proc/");
    put_number(&path, pid);
    put(&path, name);
    return write_file(path.at, map, strlen(map));
}

/* A user namespace with these maps, kept by its descriptor alone. */
static long make_namespace(const char *uid_map, const char *gid_map)
{
    int status;
    long pid = SYS(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;)
            SYS(ppoll, NULL, 0, NULL, NULL, 0);
    }
    long done = pid < 0 ? pid : write_map((int)pid, "/gid_map", gid_map);
    if (done >= 0)
        done = write_map((int)pid, "/uid_map", uid_map);
    if (done >= 0)
        done = namespace_of((int)pid);
    if (pid > 0) {
        SYS(kill, pid, SIGKILL);
        SYS(wait4, pid, &status, WALL, NULL);
    }
    return done;
}

/* User namespaces by their maps: making one takes as long as a few dozen mounts, and volumes often share one. */
static struct { const char *uid_map, *gid_map; int fd; } known[16];
static int known_count;

static long namespace_for(const char *uid_map, const char *gid_map, int pid)
{
    for (int i = 0; i < known_count; i++)
        if (equal(known[i].uid_map, uid_map) && equal(known[i].gid_map, gid_map))
            return known[i].fd;
    long fd = *uid_map == '='   ? namespace_of(pid)
              : *uid_map == '/' ? SYS(openat, AT_FDCWD, uid_map, O_RDONLY | O_CLOEXEC, 0)
                                : make_namespace(uid_map, gid_map);
    if (fd < 0 || known_count == sizeof known / sizeof *known)
        return fd;
    known[known_count].uid_map = uid_map;
    known[known_count].gid_map = gid_map;
    known[known_count++].fd = (int)fd;
    return fd;
}

static void forget_namespaces(void)
{
    while (known_count)
        SYS(close, known[--known_count].fd);
}

static long map_mount(int mount, int user_namespace, uint64_t flags, const char *path)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
    long done = SYS(mount_setattr, mount, "", AT_EMPTY_PATH | (flags & MOUNT_IDMAP_ALL ? AT_RECURSIVE : 0), &attr,
                    sizeof attr);
    if (done == -EINVAL || done == -EPERM)
        return blame(done, "map the ids of a file system that does not allow it, or not to us:", path);
    return done < 0 ? blame(done, "map the ids of", path) : 0;
}

static long open_given(struct plan args, int pid)
{
    const char *path = next_string(&args);
    uint64_t flags = (uint64_t)next_int(&args);
    const char *uid_map = next_string(&args), *gid_map = next_string(&args);
    long mount = open_source(path, flags);
    if (!*uid_map) /* one the other may be able to open, and will blame if not */
        return mount;
    if (mount < 0)
        return mount == -ENOENT && flags & MOUNT_OPTIONAL ? mount : blame(mount, "bind", path);
    long user_namespace = namespace_for(uid_map, gid_map, pid);
    long done = user_namespace < 0 ? blame(user_namespace, "make a user namespace for the ids of", path)
                                   : map_mount((int)mount, (int)user_namespace, flags, path);
    if (done >= 0)
        return mount;
    SYS(close, mount);
    return done;
}

/* The overlay of IDMAPPED: made here, where the layers can be reached and their ids mapped, for a child that may not. */
static long idmapped_root(int pid)
{
    struct plan args = config.idmapped;
    if (!next_int(&args))
        return make_overlay(&args, -1);
    long user_namespace = namespace_of(pid);
    if (user_namespace < 0)
        return blame(user_namespace, "open", "the container's user namespace");
    long mount = make_overlay(&args, (int)user_namespace);
    SYS(close, user_namespace);
    return mount;
}

/* IDMAPPED's overlay before anything is cloned: another runtime makes the container's user namespace, so one with the
 * same maps is made for the layers. */
long map_root(struct plan *args)
{
    const char *uid_map = next_string(args), *gid_map = next_string(args);
    struct plan overlay = config.idmapped;
    next_int(&overlay);
    long user_namespace = make_namespace(uid_map, gid_map);
    if (user_namespace < 0)
        return blame(user_namespace, "make a user namespace for", "the image");
    long mount = make_overlay(&overlay, (int)user_namespace);
    SYS(close, user_namespace);
    if (mount < 0)
        return mount;
    setup.given[setup.given_count++] = (int)mount;
    return 0;
}

static long give(int channel, long mount)
{
    char say = SAY_GIVEN;
    long done = send_fd(channel, &say, 1, mount < 0 ? -1 : (int)mount);
    if (mount >= 0)
        SYS(close, mount);
    return done < 0 ? blame(done, "talk to", "the container's process") : 0;
}

#define LATER -1000000 /* its ids are those of the container's user namespace, which is not there yet */

static long opened[GIVEN];

static int is_later(struct plan args)
{
    next_string(&args);
    next_int(&args);
    return *next_string(&args) == '=';
}

long open_sources(void)
{
    failure.error = 0;
    for (int i = 0; i < config.source_count; i++) {
        opened[i] = is_later(config.sources[i]) ? LATER : open_given(config.sources[i], 0);
        if (failure.error)
            return -failure.error;
    }
    return 0;
}

long give_sources(int pid, int channel)
{
    long done = 0;
    if (config.has_idmapped && (done = idmapped_root(pid)) >= 0)
        done = give(channel, done);
    failure.error = 0;
    for (int i = 0; done >= 0 && i < config.source_count; i++) {
        if (opened[i] == LATER)
            opened[i] = open_given(config.sources[i], pid);
        done = failure.error ? -failure.error : give(channel, opened[i]);
    }
    forget_namespaces();
    return done;
}
