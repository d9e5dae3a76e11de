/* The operations that make the container's process what it is: limits, ids, capabilities, filter, program; and the
 * small process 1 of --init. */
#include "process.h"

#include <linux/capability.h>

#define SIGNALS 64
#define WORDS 65536

static const char *argument_list[WORDS];
static const char *environment_list[WORDS];
static char home[PATH_MAX] = "";

static long set_ids(struct plan *args)
{
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    int set_groups = (int)next_int(args);
    int64_t count = next_int(args);
    static uint32_t groups[1024];
    if (count > 1024)
        return blame(-EINVAL, "setgroups", "too many groups");
    for (int64_t i = 0; i < count; i++)
        groups[i] = (uint32_t)next_int(args);
    /* Permitted capabilities survive the change of user: CAPABILITIES says what stays. */
    long done = SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (done >= 0 && set_groups)
        done = SYS(setgroups, count, groups);
    if (done >= 0)
        done = SYS(setresgid, gid, gid, gid);
    if (done >= 0)
        done = SYS(setresuid, uid, uid, uid);
    if (done < 0) {
        TEXT(text, 80);
        put_number(&text, uid);
        put(&text, ", group ");
        put_number(&text, gid);
        return blame(done, "process.user: become user", text.at);
    }
    return 0;
}

/* What can be permitted at all, and the bounding set wanted: known by the time CAPABILITIES comes, when a filter may
 * forbid to ask. */
static uint64_t permitted_before, bounding_wanted;

static long set_bounding(uint64_t keep)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    long got = SYS(capget, &header, data);
    if (got < 0)
        return blame(got, "capget", "");
    permitted_before = data[0].permitted | (uint64_t)data[1].permitted << 32;
    bounding_wanted = keep;
    for (int cap = 0; cap < 64; cap++) {
        if (keep >> cap & 1)
            continue;
        long done = SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (done == -EINVAL)
            break; /* past the last capability of this kernel */
        if (done < 0)
            return blame(done, "drop bounding capability", "");
    }
    return 0;
}

/* What cannot be had is left out: who asked for it has been warned.  capabilities(7): permitted can only shrink; inheritable
 * takes what is permitted or was inheritable, within the bounding set; ambient is part of both. */
static long set_capabilities(struct plan *args)
{
    uint64_t effective = (uint64_t)next_int(args), permitted = (uint64_t)next_int(args) & permitted_before,
             inheritable = (uint64_t)next_int(args) & permitted_before & bounding_wanted,
             ambient = (uint64_t)next_int(args);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    effective &= permitted;
    ambient &= permitted & inheritable;
    for (int i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){ (uint32_t)(effective >> (32 * i)), (uint32_t)(permitted >> (32 * i)),
                                                   (uint32_t)(inheritable >> (32 * i)) };
    long done = SYS(capset, &header, data);
    if (done < 0)
        return blame(done, "capset", "");
    SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; cap < 64; cap++)
        if (ambient >> cap & 1 && (done = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0)) < 0)
            return blame(done, "raise ambient capability", "");
    return 0;
}

void raise_permitted(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    if (SYS(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0 || SYS(capget, &header, data) < 0)
        return;
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted;
    SYS(capset, &header, data);
}

/* Enter the working directory, made where missing; it must lie inside the root (CVE-2024-21626). */
static long change_dir(struct plan *args)
{
    const char *path = next_string(args);
    int create = (int)next_int(args);
    long done = SYS(chdir, path);
    if (done == -ENOENT && create) {
        TEXT(prefix, PATH_MAX);
        for (const char *at = path; *at; at++) {
            if (*at == '/' && prefix.used)
                SYS(mkdirat, AT_FDCWD, prefix.at, 0755);
            put_bytes(&prefix, at, 1);
        }
        SYS(mkdirat, AT_FDCWD, prefix.at, 0755);
        done = SYS(chdir, path);
    }
    if (done < 0)
        return blame(done, "chdir to", path);
    char where[PATH_MAX];
    done = SYS(getcwd, where, sizeof where);
    if (done < 0 || where[0] != '/')
        return blame(done < 0 ? done : -ENOENT, "chdir outside the root", path);
    return 0;
}

static const char *variable(const char **environment, const char *name)
{
    size_t size = strlen(name);
    for (; *environment; environment++)
        if (starts_with(*environment, name) && (*environment)[size] == '=')
            return *environment + size + 1;
    return NULL;
}

typedef long attempt(const char *file, const char **argv, const char **environment);

static long replace_program(const char *file, const char **argv, const char **environment)
{
    return SYS(execve, file, argv, environment);
}

/* What cannot be found out, because a filter forbids to ask, is left for execve to say. */
static long look_at_program(const char *file, const char **, const char **)
{
    struct statx st;
    long done = SYS(faccessat, AT_FDCWD, file, 1 /* X_OK */);
    if (done == -ENOENT || done == -ENOTDIR || done == -EACCES || done == -ELOOP)
        return done;
    if (SYS(statx, AT_FDCWD, file, 0, STATX_TYPE, &st) >= 0 && (st.stx_mode & 0170000) != 0100000)
        return -EACCES;
    return 0;
}

/* execvpe(3): what cannot be executed is remembered while the search goes on. */
static long find_program(const char **argv, const char **environment, attempt *attempt)
{
    const char *name = argv[0], *path = variable(environment, "PATH");
    long worst = -ENOENT, done;
    if (!*name)
        return blame(-ENOENT, "exec", "\"\"");
    if (find_char(name, '/')) {
        done = attempt(name, argv, environment);
        return done < 0 ? blame(done, "exec", name) : 0;
    }
    if (!path)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (;;) {
        const char *end = find_char(path, ':');
        TEXT(file, PATH_MAX);
        put_bytes(&file, path, end ? (size_t)(end - path) : strlen(path));
        put(&file, file.used ? "/" : "./");
        put(&file, name);
        done = attempt(file.at, argv, environment);
        if (done >= 0)
            return 0;
        if (done != -ENOENT && done != -ENOTDIR && worst == -ENOENT)
            worst = done;
        if (!end)
            break;
        path = end + 1;
    }
    return blame(worst, "exec", name);
}

void run_program(const char **argv, const char **environment)
{
    find_program(argv, environment, replace_program);
}

/* Dispositions and mask as a program expects to find them. */
void default_signals(void)
{
    struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } action = { 0 };
    uint64_t none = 0;
    for (int number = 1; number <= SIGNALS; number++)
        SYS(rt_sigaction, number, &action, NULL, sizeof action.mask);
    SYS(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

/* The descriptors that become 3, 4, … and nothing else but what is still needed: the line for failures, the socket of
 * `start`, the pipe of CONFIRM.  Closed rather than left to execve, for somebody may look into this process before. */
static long place_kept(void)
{
    int *needed[] = { &setup.channel, &setup.report, &setup.listener, &setup.confirm };
    int count = sizeof needed / sizeof *needed, first = 3 + setup.keep;
    for (int i = 0; i < count; i++)
        if (*needed[i] >= 0 && *needed[i] < first) {
            long fd = SYS(fcntl, *needed[i], F_DUPFD_CLOEXEC, first);
            if (fd >= 0)
                *needed[i] = (int)fd;
            else if (fd != -EBADF) /* the report is not everybody's */
                return fd;
        }
    for (int i = 0; i < setup.keep; i++) {
        long done = SYS(dup3, setup.keep_from + i, 3 + i, 0);
        if (done < 0)
            return done;
    }
    for (;;) {
        int next = -1;
        for (int i = 0; i < count; i++)
            if (*needed[i] >= first && (next < 0 || *needed[i] < next))
                next = *needed[i];
        if (next < 0)
            return SYS(close_range, first, ~0u, 0);
        if (next > first)
            SYS(close_range, first, next - 1, 0);
        first = next + 1;
    }
}

/* All that has to be done before the program runs and needs no system call after a filter is in force; once. */
long settle(void)
{
    static int settled;
    if (settled)
        return 0;
    settled = 1;
    default_signals();
    SYS(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    return named(place_kept(), "pass on", "descriptors");
}

static long read_program(struct plan *args)
{
    const char **lists[] = { argument_list, environment_list };
    for (int i = 0; i < 2; i++)
        if (next_list(args, lists[i], WORDS) == WORDS - 1)
            return blame(-E2BIG, "exec", argument_list[0]);
    return argument_list[0] ? 0 : blame(-EINVAL, "exec", "no program");
}

/* The home directory in the line of /etc/passwd that has this user's number; "/" without one. */
static long find_home(struct plan *args)
{
    static char accounts[1 << 18];
    struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
    struct text found = { home, 0, sizeof home };
    struct statx st;
    TEXT(uid, 24);
    put_number(&uid, next_int(args));
    put(&found, "HOME=/");
    long fd = SYS(openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how), size = 0, n;
    if (fd < 0)
        return 0;
    if (SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) >= 0 && (st.stx_mode & 0170000) == 0100000)
        while ((n = SYS(read, fd, accounts + size, sizeof accounts - 1 - (size_t)size)) > 0)
            size += n;
    SYS(close, fd);
    accounts[size] = 0;
    for (char *line = accounts, *next; *line; line = next) {
        const char *fields[7] = { line };
        int count = 1;
        for (next = line; *next && *next != '\n'; next++)
            if (*next == ':') {
                *next = 0;
                if (count < 7)
                    fields[count++] = next + 1;
            }
        if (*next)
            *next++ = 0;
        if (count >= 6 && equal(fields[2], uid.at) && fields[5][0] == '/') {
            found.used = 0;
            put(&found, "HOME=");
            put(&found, fields[5]);
            break;
        }
    }
    return 0;
}

static long execute(struct plan *args)
{
    long done = read_program(args);
    if (done >= 0)
        done = settle();
    if (done < 0)
        return done;
    if (*home) {
        const char **last = environment_list;
        while (*last)
            last++;
        last[0] = home;
        last[1] = NULL;
    }
    run_program(argument_list, environment_list);
    return -failure.error;
}

static int exit_code_of(int status)
{
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* What ps shows as the command line. */
static void rename_process(const char *name)
{
    char *at = (char *)program_argv[0];
    const char **last = program_argv;
    while (last[1])
        last++;
    size_t room = (size_t)(*last + strlen(*last) - at), size = strlen(name);
    memset(at, 0, room);
    memcpy(at, name, size < room ? size : room);
}

static void reap_for_ever(int child)
{
    uint64_t all = ~0ull;
    struct { int number; char rest[124]; } info;
    SYS(close_range, 3, ~0u, 0);
    for (;;) {
        long number = SYS(rt_sigtimedwait, &all, &info, NULL, sizeof all);
        if (number == SIGCHLD) {
            int status, pid;
            while ((pid = (int)SYS(wait4, -1, &status, WNOHANG | WALL, NULL)) > 0)
                if (pid == child)
                    leave(exit_code_of(status));
        } else if (number > 0 && number != SIGTTIN && number != SIGTTOU && number != SIGTSTP) {
            SYS(kill, child, number);
        }
    }
}

/* --init: fork; the child goes on to EXEC, the parent reaps until the child ends and ends with its code.  It needs no
 * program of its own: it is this file, a sealed copy in memory, already without privileges and not dumpable. */
static long become_init(void)
{
    uint64_t all = ~0ull;
    SYS(rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    SYS(prctl, PR_SET_NAME, "init", 0, 0, 0); /* before the child can see it; EXEC renames that */
    rename_process("init");
    /* Not clone3: the filter may be in force already, and the default one knows clone only. */
    long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return blame(child, "fork", "init");
    if (child > 0)
        reap_for_ever((int)child);
    /* A process group of its own in the foreground, so that the terminal's signals do not reach process 1 too. */
    SYS(setpgid, 0, 0);
    int group = (int)SYS(getpid);
    SYS(ioctl, 0, TIOCSPGRP, &group);
    all = 0;
    SYS(rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    return 0;
}

/* The socket `estiva-runtime start` will connect to, made while its path can still be seen. */
static long listen_at(struct plan *args)
{
    const char *path = next_string(args);
    long fd = bind_unix(path, SOCK_SEQPACKET);
    if (fd < 0)
        return blame(fd, "listen", path);
    setup.listener = (int)fd;
    return 0;
}

/* A process nobody knows of would stay for ever: it ends if its maker does before it has taken note of it. */
static long await_confirmation(int fd)
{
    char word;
    long n;
    do
        n = SYS(read, fd, &word, 1);
    while (n == -EINTR);
    SYS(close, fd);
    if (n == 0)
        leave(125);
    return named(n < 0 ? n : 0, "await", "confirmation");
}

static void end_by_signal(int number)
{
    leave(128 + number);
}

/* Process 1 is not ended by signals it does not handle.  EXEC puts this right again. */
static void end_by_signals(void)
{
    struct { void (*handler)(int); unsigned long flags; void *restorer; uint64_t mask; } action = {
        end_by_signal, 0x04000000 /* SA_RESTORER, which x86-64 insists on */, end_by_signal, 0
    };
    const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM };
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        SYS(rt_sigaction, numbers[i], &action, NULL, sizeof action.mask);
}

/* Report ready, then wait until somebody connects; failures from here on go to that client. */
static long wait_start(void)
{
    char say = SAY_READY;
    long listener = setup.listener, client;
    /* From here on it may outlive its parent, which may be gone as soon as it has heard and confirmed. */
    SYS(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    end_by_signals();
    if ((client = send_fd(setup.channel, &say, 1, -1)) < 0)
        return blame(client, "report", "ready");
    if (setup.confirm >= 0 && (client = await_confirmation(setup.confirm)) < 0)
        return client;
    do
        client = SYS(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
    while (client == -EINTR);
    if (client < 0)
        return blame(client, "accept", "start");
    SYS(close, listener);
    SYS(close, setup.channel);
    setup.channel = (int)client;
    return 0;
}

static void pause_for_ever(void)
{
    char say = SAY_READY;
    default_signals();
    SYS(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    SYS(prctl, PR_SET_NAME, "estiva-pause", 0, 0, 0);
    send_fd(setup.channel, &say, 1, -1);
    SYS(chdir, "/");
    SYS(close_range, 0, ~0u, 0);
    for (;;)
        SYS(ppoll, NULL, 0, NULL, NULL, 0);
}

static long become_root(void)
{
    long done = SYS(setresgid, 0, 0, 0);
    if (done >= 0)
        done = SYS(setresuid, 0, 0, 0);
    if (done >= 0)
        SYS(setgroups, 0, NULL); /* denied with a single-id map: then there is nothing to drop either */
    return named(done, "become root of", "the user namespace");
}

long perform_process(struct operation_record *operation)
{
    struct plan *args = &operation->args;
    int64_t number;
    switch (operation->code) {
    case OP_HIDE:
        return named(SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl", "PR_SET_DUMPABLE");
    case OP_OOM_SCORE: {
        TEXT(score, 32);
        put_number(&score, next_int(args));
        return named(write_file("/proc/self/oom_score_adj", score.at, score.used), "write", "oom_score_adj");
    }
    case OP_KEYRING:
        return join_keyring();
    case OP_LABELS:
        return set_labels(args);
    case OP_SCHEDULER:
        return set_scheduler(args);
    case OP_IO_PRIORITY:
        return set_io_priority(args);
    case OP_AFFINITY:
        return set_affinity(args);
    case OP_MEMORY_POLICY:
        return set_memory_policy(args);
    case OP_HOME:
        return find_home(args);
    case OP_FORK_INSIDE:
        return fork_inside(args);
    case OP_BECOME_ROOT:
        return become_root();
    case OP_RLIMIT: {
        const char *name = next_string(args);
        number = next_int(args);
        struct { uint64_t soft, hard; } limit;
        limit.soft = (uint64_t)next_int(args);
        limit.hard = (uint64_t)next_int(args);
        return named(SYS(prlimit64, 0, number, &limit, NULL), "process.rlimits: set", name);
    }
    case OP_UMASK:
        SYS(umask, next_int(args));
        return 0;
    case OP_NO_NEW_PRIVILEGES:
        return named(SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS");
    case OP_SECCOMP:
        return load_filter(args);
    case OP_LANDLOCK:
        return landlock(args);
    case OP_BOUNDING:
        return set_bounding((uint64_t)next_int(args));
    case OP_IDS:
        return set_ids(args);
    case OP_CAPABILITIES:
        return set_capabilities(args);
    case OP_CHDIR:
        return change_dir(args);
    case OP_PERSONALITY:
        return named(SYS(personality, next_int(args)), "personality", "");
    case OP_INIT:
        return become_init();
    case OP_KEEP_FDS:
        setup.keep = (int)next_int(args);
        setup.keep_from = (int)next_int(args);
        return 0;
    case OP_PROGRAM:
        number = read_program(args);
        return number < 0 ? number : find_program(argument_list, environment_list, look_at_program);
    case OP_CONFIRM:
        setup.confirm = (int)next_int(args);
        return next_int(args) ? await_confirmation(setup.confirm) : 0;
    case OP_LISTEN:
        return listen_at(args);
    case OP_WAIT_START:
        return wait_start();
    case OP_EXEC:
        return execute(args);
    case OP_PAUSE:
        pause_for_ever();
        return 0;
    default:
        return blame(-EINVAL, "unknown operation", "");
    }
}
