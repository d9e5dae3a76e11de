/* From the helper to the program: signals, descriptors, environment, execve(2). */
#include "process.h"

#define SIGNALS 64
#define WORDS 65536

static const char *argument_list[WORDS];
static const char *environment_list[WORDS];
static char home[PATH_MAX] = "";

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

long look_for_program(struct plan *args)
{
    long done = read_program(args);
    return done < 0 ? done : find_program(argument_list, environment_list, look_at_program);
}

/* The home directory in the line of /etc/passwd that has this user's number; "/" without one. */
long find_home(struct plan *args)
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

long execute(struct plan *args)
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
