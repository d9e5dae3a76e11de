/* Files, trees and descriptors: whole writes, removing and copying what may be hostile, passing descriptors. */
#include "sys.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* Deeper than this, a tree is not walked by recursion: its parts are first moved up (remove) or refused (copy). */
#define MAX_DEPTH 128

int write_all(int fd, const void *data, size_t n)
{
    const char *at = data;
    while (n) {
        long done = SYS(write, fd, at, n);
        if (done == -EINTR)
            continue;
        if (done < 0)
            return (int)done;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int write_file(const char *path, const char *data, size_t n)
{
    long fd = SYS(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    int result = write_all((int)fd, data, n);
    SYS(close, fd);
    return result;
}

/* The file appears whole or not at all; if it is to be durable, also after a power cut. */
int replace_file(const char *path, const char *data, size_t n, int durable)
{
    TEXT(temporary, PATH_MAX);
    put(&temporary, path);
    put(&temporary, ".new");
    long fd = SYS(openat, AT_FDCWD, temporary.at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return (int)fd;
    int result = write_all((int)fd, data, n);
    if (!result && durable)
        result = (int)SYS(fdatasync, fd);
    SYS(close, fd);
    if (!result)
        result = (int)SYS(renameat2, AT_FDCWD, temporary.at, AT_FDCWD, path, 0);
    return result;
}

long read_file(const char *path, char *buffer, size_t size)
{
    long fd = SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long n = SYS(read, fd, buffer, size - 1);
    SYS(close, fd);
    buffer[n > 0 ? n : 0] = 0;
    return n;
}

static int dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Empty the directory `dir`.  `top` is where branches that lie too deep are moved to, to be met again from there. */
static int empty_dir(int dir, int top, int depth)
{
    char buffer[1024];
    long n;
    int result = 0, progress;
    static unsigned moved;
    do {
        progress = 0;
        SYS(lseek, dir, 0, 0);
        while ((n = SYS(getdents64, dir, buffer, sizeof buffer)) > 0) {
            for (long at = 0; at < n;) {
                struct dirent64 *entry = (struct dirent64 *)(buffer + at);
                at += entry->reclen;
                if (dots(entry->name))
                    continue;
                long done = SYS(unlinkat, dir, entry->name, 0);
                if (done == -EISDIR || done == -EPERM)
                    done = SYS(unlinkat, dir, entry->name, AT_REMOVEDIR);
                if (done == -ENOTEMPTY) {
                    if (depth >= MAX_DEPTH) {
                        TEXT(name, 32);
                        put(&name, ".estiva-deep-");
                        put_number(&name, ++moved);
                        done = SYS(renameat2, dir, entry->name, top, name.at, 0);
                    } else {
                        long sub = SYS(openat, dir, entry->name, DIR_FLAGS, 0);
                        done = sub < 0 ? sub : empty_dir((int)sub, top, depth + 1);
                        if (sub >= 0)
                            SYS(close, sub);
                        if (!done)
                            done = SYS(unlinkat, dir, entry->name, AT_REMOVEDIR);
                    }
                }
                if (done < 0 && done != -ENOENT)
                    result = (int)done;
                else
                    progress = 1;
            }
        }
        if (n < 0)
            return (int)n;
    } while (progress);
    return result;
}

/* Remove a directory and all below it, never following a symbolic link; gone already is success. */
int remove_tree(const char *path)
{
    long dir = SYS(openat, AT_FDCWD, path, DIR_FLAGS, 0);
    if (dir < 0)
        return dir == -ENOENT ? 0 : (int)dir;
    int result = empty_dir((int)dir, (int)dir, 0);
    SYS(close, dir);
    if (!result)
        result = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    return result;
}

int is_empty_dir(int dir)
{
    char buffer[512];
    long n;
    int empty = 1;
    SYS(lseek, dir, 0, 0);
    while (empty && (n = SYS(getdents64, dir, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; at += ((struct dirent64 *)(buffer + at))->reclen)
            if (!dots(((struct dirent64 *)(buffer + at))->name))
                empty = 0;
    SYS(lseek, dir, 0, 0);
    return empty;
}

static long stat_at(int dir, const char *name, struct statx *st)
{
    return SYS(statx, dir, name, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH), STATX_BASIC_STATS, st);
}

/* What is copied may be changed by others at the same time: a volume that two containers share.  So mode, owner and times are
 * set by descriptor: a name could by then be a link to anywhere, which chmod would follow. */
static long set_metadata(int fd, const struct statx *st)
{
    const struct { int64_t sec, nsec; } times[2] = {
        { st->stx_atime.tv_sec, st->stx_atime.tv_nsec }, { st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec } };
    long done = SYS(fchownat, fd, "", st->stx_uid, st->stx_gid, AT_EMPTY_PATH);
    /* After the owner, because changing the owner clears set-id bits. */
    if (done >= 0)
        done = SYS(fchmod, fd, st->stx_mode & 07777);
    if (done >= 0)
        SYS(utimensat, fd, NULL, times, 0);
    return done;
}

static long copy_content(int from_dir, int to_dir, const char *name, const struct statx *st)
{
    long from = SYS(openat, from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (from < 0)
        return from;
    long to = SYS(openat, to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), n = to;
    while (n >= 0 && (n = SYS(sendfile, to, from, 0, 1 << 20)) > 0)
        ;
    if (n >= 0)
        n = set_metadata((int)to, st);
    SYS(close, from);
    if (to >= 0)
        SYS(close, to);
    return n;
}

static long copy_link(int from_dir, int to_dir, const char *name)
{
    char target[PATH_MAX];
    long n = SYS(readlinkat, from_dir, name, target, sizeof target - 1);
    if (n < 0)
        return n;
    target[n] = 0;
    return SYS(symlinkat, target, to_dir, name);
}

/* Owner and times of what has no mode of its own, or was made with it. */
static long copy_owner(int to_dir, const char *name, const struct statx *st)
{
    const struct { int64_t sec, nsec; } times[2] = {
        { st->stx_atime.tv_sec, st->stx_atime.tv_nsec }, { st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec } };
    long done = SYS(fchownat, to_dir, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
    if (done >= 0)
        SYS(utimensat, to_dir, name, times, AT_SYMLINK_NOFOLLOW);
    return done;
}

static long copy_node(int to_dir, const char *name, const struct statx *st)
{
    long mask = SYS(umask, 0), done = SYS(mknodat, to_dir, name, st->stx_mode, 0);
    SYS(umask, mask);
    return done;
}

static long copy_entry(int from_dir, int to_dir, const char *name, int depth);

static long copy_children(int from, int to, int depth)
{
    char buffer[1024];
    long n, done = 0;
    if (depth > MAX_DEPTH)
        return -ELOOP;
    while (done >= 0 && (n = SYS(getdents64, from, buffer, sizeof buffer)) > 0)
        for (long at = 0; done >= 0 && at < n;) {
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            at += entry->reclen;
            if (!dots(entry->name))
                done = copy_entry(from, to, entry->name, depth);
        }
    return done < 0 ? done : n;
}

static long copy_entry(int from_dir, int to_dir, const char *name, int depth)
{
    struct statx st;
    long done = stat_at(from_dir, name, &st);
    if (done < 0)
        return done;
    switch (st.stx_mode & 0170000) {
    case 0100000:
        return copy_content(from_dir, to_dir, name, &st);
    case 0120000:
        done = copy_link(from_dir, to_dir, name);
        break;
    case 0040000: {
        long from = SYS(openat, from_dir, name, DIR_FLAGS, 0);
        if (from < 0)
            return from;
        done = SYS(mkdirat, to_dir, name, 0700);
        long to = done < 0 ? done : SYS(openat, to_dir, name, DIR_FLAGS, 0);
        done = to < 0 ? to : copy_children((int)from, (int)to, depth + 1);
        if (done >= 0)
            done = set_metadata((int)to, &st);
        SYS(close, from);
        if (to >= 0)
            SYS(close, to);
        return done;
    }
    case 0010000:
    case 0140000:
        done = copy_node(to_dir, name, &st);
        break;
    default:
        return 0; /* device nodes are not carried into volumes */
    }
    return done < 0 ? done : copy_owner(to_dir, name, &st);
}

/* Copy all below one directory into another, owners, modes and times with it; with_top: also of the directory itself. */
int copy_tree(int from_dir, int to_dir, int with_top)
{
    struct statx st;
    long done = copy_children(from_dir, to_dir, 0);
    if (done >= 0 && with_top && (done = stat_at(from_dir, "", &st)) >= 0)
        done = set_metadata(to_dir, &st);
    return done < 0 ? (int)done : 0;
}

static int chown_children(int dir, unsigned uid, unsigned gid, int depth)
{
    char buffer[1024];
    long n, done = 0;
    if (depth > MAX_DEPTH)
        return -ELOOP;
    while (done >= 0 && (n = SYS(getdents64, dir, buffer, sizeof buffer)) > 0)
        for (long at = 0; done >= 0 && at < n;) {
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            at += entry->reclen;
            if (dots(entry->name))
                continue;
            done = SYS(fchownat, dir, entry->name, uid, gid, AT_SYMLINK_NOFOLLOW);
            long sub = SYS(openat, dir, entry->name, DIR_FLAGS, 0);
            if (done >= 0 && sub >= 0)
                done = chown_children((int)sub, uid, gid, depth + 1);
            if (sub >= 0)
                SYS(close, sub);
        }
    return done < 0 ? (int)done : (int)n;
}

int chown_tree(int dir, unsigned uid, unsigned gid)
{
    long done = SYS(fchownat, dir, "", uid, gid, AT_EMPTY_PATH);
    return done < 0 ? (int)done : chown_children(dir, uid, gid, 0);
}

int send_fd(int socket, const void *data, size_t n, int fd)
{
    struct cmsghdr control = { sizeof(size_t) + 3 * sizeof(int), SOL_SOCKET, SCM_RIGHTS, fd, 0 };
    struct iovec iov = { (void *)data, n };
    struct msghdr message = { .iov = &iov, .iovlen = 1 };
    if (fd >= 0)
        message.control = &control, message.controllen = sizeof control;
    long done = SYS(sendmsg, socket, &message, MSG_NOSIGNAL);
    return done < 0 ? (int)done : 0;
}

/* The length of one message; *fd is the descriptor that came with it (close-on-exec), or -1. */
long receive_fd(int socket, void *data, size_t n, int *fd)
{
    struct cmsghdr control = { 0 };
    struct iovec iov = { data, n };
    struct msghdr message = { .iov = &iov, .iovlen = 1, .control = &control, .controllen = sizeof control };
    long done;
    do
        done = SYS(recvmsg, socket, &message, MSG_CMSG_CLOEXEC);
    while (done == -EINTR);
    *fd = done >= 0 && message.controllen >= sizeof(size_t) + 3 * sizeof(int) && control.type == SCM_RIGHTS ? control.fd
                                                                                                           : -1;
    return done;
}

/* A unix socket's name holds 107 bytes, paths may be longer: the directory is opened and named by its descriptor. */
static long unix_address(const char *path, struct sockaddr_un *address)
{
    const char *slash = path;
    for (const char *at = path; *at; at++)
        if (*at == '/')
            slash = at;
    TEXT(dir, PATH_MAX);
    put_bytes(&dir, path, (size_t)(slash - path));
    long fd = SYS(openat, AT_FDCWD, dir.used ? dir.at : "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    struct text name = { address->path, 0, sizeof address->path };
    address->family = AF_UNIX;
    put(&name, "/proc/self/fd/");
    put_number(&name, fd);
    put(&name, slash);
    return fd;
}

/* Whoever does not accept or read within this time is as good as gone. */
#define SO_SNDTIMEO 21
static const struct { int64_t sec, usec; } patience = { 10, 0 };

int connect_unix(const char *path, int type)
{
    struct sockaddr_un address = { 0 };
    long dir = unix_address(path, &address);
    if (dir < 0)
        return (int)dir;
    long fd = SYS(socket, AF_UNIX, type | SOCK_CLOEXEC, 0), done = fd;
    if (fd >= 0 && (done = SYS(setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience)) >= 0)
        done = SYS(connect, fd, &address, sizeof address);
    SYS(close, dir);
    if (done < 0 && fd >= 0)
        SYS(close, fd);
    return done == -EAGAIN ? -ETIMEDOUT : done < 0 ? (int)done : (int)fd;
}

int bind_unix(const char *path, int type)
{
    struct sockaddr_un address = { 0 };
    long dir = unix_address(path, &address);
    if (dir < 0)
        return (int)dir;
    SYS(unlinkat, AT_FDCWD, path, 0);
    long fd = SYS(socket, AF_UNIX, type | SOCK_CLOEXEC, 0);
    long done = fd < 0 ? fd : SYS(bind, fd, &address, sizeof address);
    if (done >= 0)
        done = SYS(fchmodat, AT_FDCWD, path, 0600);
    if (done >= 0)
        done = SYS(listen, fd, 16);
    SYS(close, dir);
    if (done < 0 && fd >= 0)
        SYS(close, fd);
    return done < 0 ? (int)done : (int)fd;
}

int64_t now_ns(int clock)
{
    struct { int64_t sec, nsec; } t;
    SYS(clock_gettime, clock, &t);
    return t.sec * 1000000000 + t.nsec;
}
