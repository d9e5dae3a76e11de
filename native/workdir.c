/* The program's working directory.
 *
 * The container's root is the root already, but descriptors of the host may still be open: links of /proc that lead to
 * them are refused, and the directory is entered by descriptor (CVE-2024-21626). */
#include "process.h"

static long open_directory(const char *path)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
    return SYS(openat2, AT_FDCWD, path, &how, sizeof how);
}

/* Make the directories of `path` that are missing; a descriptor of the last one. */
static long make_directories(const char *path)
{
    TEXT(prefix, PATH_MAX);
    put(&prefix, "/");
    long dir = open_directory("/");
    while (dir >= 0) {
        char name[256];
        size_t size = 0;
        while (*path == '/')
            path++;
        if (!*path)
            break;
        while (path[size] && path[size] != '/')
            size++;
        if (size >= sizeof name || prefix.used + size + 2 > prefix.size) {
            SYS(close, dir);
            return -ENAMETOOLONG;
        }
        memcpy(name, path, size);
        name[size] = 0;
        path += size;
        put(&prefix, name);
        long next = open_directory(prefix.at);
        if (next == -ENOENT) {
            next = SYS(mkdirat, dir, name, 0755);
            if (next >= 0 || next == -EEXIST)
                next = open_directory(prefix.at);
        }
        put(&prefix, "/");
        SYS(close, dir);
        dir = next;
    }
    return dir;
}

long change_dir(struct plan *args)
{
    const char *path = next_string(args);
    int create = (int)next_int(args);
    char where[PATH_MAX];
    long dir = open_directory(path), done;
    if (dir == -ENOENT && create)
        dir = make_directories(path);
    if (dir < 0)
        return blame(dir, dir == -ELOOP ? "chdir outside the root" : "chdir to", path);
    done = SYS(fchdir, dir);
    SYS(close, dir);
    if (done >= 0 && (done = SYS(getcwd, where, sizeof where)) >= 0 && where[0] != '/')
        return blame(-ENOENT, "chdir outside the root", path);
    return named(done, "chdir to", path);
}
