/* Control groups at the end of a container, and holding one open before there is anything in it. */
#include "monitor.h"

#include <linux/stat.h>

#define STICKY 01000 /* of a directory: a parent that the Python side made, see runtime/cgroup/driver.py */
#define DIRECTORY 4  /* DT_DIR */

static void nap(void)
{
    struct { int64_t sec, nsec; } moment = { 0, 2000000 };
    SYS(nanosleep, &moment, NULL);
}

/* The groups the container made below `dir`, the deepest first.  All else in a control group's directory is no directory. */
static void remove_below(int dir, int depth)
{
    char buffer[1024];
    long n;
    while ((n = SYS(getdents64, dir, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n;) {
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            at += entry->reclen;
            if (entry->type != DIRECTORY || entry->name[0] == '.')
                continue;
            if (SYS(unlinkat, dir, entry->name, AT_REMOVEDIR) != -EBUSY || depth > 64)
                continue;
            long sub = SYS(openat, dir, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
            if (sub < 0)
                continue;
            remove_below((int)sub, depth + 1);
            SYS(close, sub);
            SYS(unlinkat, dir, entry->name, AT_REMOVEDIR);
        }
}

/* What still runs in a group that has no cgroup.kill: processes that left the pid namespace, or never had one. */
static void kill_in(const char *dir)
{
    static char pids[8192];
    TEXT(path, PATH_MAX);
    put(&path, dir);
    put(&path, "/cgroup.procs");
    if (read_file(path.at, pids, sizeof pids) <= 0)
        return;
    for (const char *at = pids; *at;) {
        int pid = 0;
        while (*at >= '0' && *at <= '9')
            pid = pid * 10 + *at++ - '0';
        if (pid > 1)
            SYS(kill, pid, SIGKILL);
        while (*at && (*at < '0' || *at > '9'))
            at++;
    }
}

static void remove_group(const char *dir)
{
    for (int tries = 0; tries < 500 && SYS(unlinkat, AT_FDCWD, dir, AT_REMOVEDIR) == -EBUSY; tries++) {
        long fd = SYS(openat, AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd >= 0) {
            remove_below((int)fd, 0);
            SYS(close, fd);
        }
        if (tries)
            nap();
        if (tries > 5)
            kill_in(dir);
    }
}

/* Parents of ours that are empty now.  Who makes a group in one at this moment is either earlier, then it is not empty,
 * or makes the parent again. */
static void remove_parents(const char *dir)
{
    TEXT(path, PATH_MAX);
    struct statx st;
    put(&path, dir);
    for (;;) {
        while (path.used && path.at[path.used - 1] != '/')
            path.used--;
        if (path.used < 2)
            return;
        path.at[--path.used] = 0;
        if (SYS(statx, AT_FDCWD, path.at, 0, STATX_BASIC_STATS, &st) < 0 || !(st.stx_mode & STICKY) ||
            SYS(unlinkat, AT_FDCWD, path.at, AT_REMOVEDIR) < 0)
            return;
    }
}

/* After the container's end. */
void clear_cgroups(void)
{
    if (config.kill_path && *config.kill_path)
        write_file(config.kill_path, "1", 1);
    for (const char **dir = config.dirs; *dir; dir++) {
        remove_group(*dir);
        remove_parents(*dir);
    }
}

/* A control group that systemd makes must have a process from the beginning.  This is one, until the other end of the
 * pipe `fd` is closed, by whoever holds it or by the end of that process. */
void hold(struct plan *args)
{
    int fd = (int)next_int(args);
    struct { char say; int32_t pid; } __attribute__((packed)) message = { 'p', 0 };
    char nothing;
    detach();
    SYS(prctl, PR_SET_NAME, "estiva-hold", 0, 0, 0);
    message.pid = (int32_t)SYS(getpid);
    SYS(sendto, REPORT_FD, &message, sizeof message, MSG_NOSIGNAL, NULL, 0);
    SYS(chdir, "/");
    if (fd > 0)
        SYS(close_range, 0, fd - 1, 0);
    SYS(close_range, fd + 1, ~0u, 0);
    while (SYS(read, fd, &nothing, 1) == -EINTR)
        ;
    leave(0);
}
