/* Paths of the container as descriptors: resolved by the kernel inside the root under construction (RESOLVE_IN_ROOT), never
 * followed by name, and made where they are missing. */
#include "setup.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

long resolve(const char *path, uint64_t flags, uint64_t how_resolve)
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

/* The directory that holds `path` (made where missing) as a descriptor, and its last component, without slashes. */
long resolve_parent(const char *path, char last[256], uint64_t how_resolve)
{
    TEXT(prefix, PATH_MAX);
    while (*path == '/')
        path++;
    long dir = resolve("", O_PATH | O_DIRECTORY, how_resolve);
    while (dir >= 0) {
        size_t size = 0;
        while (path[size] && path[size] != '/')
            size++;
        const char *rest = path + size;
        while (*rest == '/')
            rest++;
        if (!size || size >= 256 || prefix.used + size + 2 > prefix.size) {
            SYS(close, dir);
            return size ? -ENAMETOOLONG : -EINVAL;
        }
        memcpy(last, path, size);
        last[size] = 0;
        if (!*rest)
            return dir;
        put(&prefix, last);
        long next = resolve(prefix.at, O_PATH | O_DIRECTORY, how_resolve);
        if (next == -ENOENT) {
            /* A dangling link is refused here with EEXIST: mkdirat does not follow it. */
            next = SYS(mkdirat, dir, last, 0755);
            if (next >= 0 || next == -EEXIST)
                next = resolve(prefix.at, O_PATH | O_DIRECTORY, how_resolve);
        }
        SYS(close, dir);
        dir = next;
        put(&prefix, "/");
        path = rest;
    }
    return dir;
}

/* A mount target inside the root, made where missing, as an O_PATH descriptor. */
long open_target(const char *path, enum kind kind, uint64_t open_flags, uint64_t how_resolve)
{
    char name[256];
    long fd = resolve(path, O_PATH | open_flags, how_resolve);
    if (fd != -ENOENT)
        return fd;
    long parent = resolve_parent(path, name, how_resolve);
    if (parent < 0)
        return parent;
    if (kind == DIRECTORY)
        fd = SYS(mkdirat, parent, name, 0755);
    else if ((fd = SYS(openat, parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) >= 0)
        SYS(close, fd);
    SYS(close, parent);
    return fd < 0 && fd != -EEXIST ? fd : resolve(path, O_PATH | open_flags, how_resolve);
}

int is_directory(int fd)
{
    struct statx st;
    return SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) >= 0 && (st.stx_mode & 0170000) == 0040000;
}
