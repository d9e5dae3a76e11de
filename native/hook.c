/* Hooks that run in the container's namespaces, and the points at which the container's process stops for others.
 *
 * A hook gets the container's state on standard input; what it writes is kept, for its last line says why it failed.  Both
 * are memory files: nobody has to read while it runs, and what it leaves in the background can hold on to them. */
#include "setup.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#define SECOND 1000000000ll

/* Stop until the monitor, or who started it, has done its part. */
long sync_with(struct plan *args)
{
    char say[2] = { SAY_SYNC, (char)next_int(args) };
    int fd;
    long done = send_fd(setup.channel, say, sizeof say, -1);
    if (done >= 0)
        done = receive_fd(setup.channel, say, 1, &fd);
    if (done == 0 || (done > 0 && say[0] != SAY_GO))
        done = -ECANCELED;
    return done < 0 ? blame(done, "wait for", "the monitor") : 0;
}

static long memory_file(const char *name)
{
    return SYS(memfd_create, name, 1 /* MFD_CLOEXEC */);
}

static long state_file(const char *state)
{
    TEXT(end, 32);
    put_number(&end, SYS(getpid));
    put(&end, "}");
    long fd = memory_file("state");
    if (fd < 0)
        return fd;
    long done = write_all((int)fd, state, strlen(state));
    if (done >= 0)
        done = write_all((int)fd, end.at, end.used);
    SYS(lseek, fd, 0, 0);
    return done < 0 ? done : fd;
}

struct program {
    const char *path, *argv[256], *environment[1024];
    uint64_t filter_flags;
    struct sock_fprog filter;
};

static void become_hook(const struct program *program, int input, int output, int line)
{
    /* A group of its own, to be killed as one; none of it outlives the container's process. */
    SYS(setsid);
    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (setup.root >= 0)
        SYS(fchdir, setup.root);
    SYS(dup3, input, 0, 0);
    SYS(dup3, output, 1, 0);
    SYS(dup3, output, 2, 0);
    SYS(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
    default_signals();
    /* The filter of the container's program holds for what the image brings, too. */
    long done = program->filter.len ? SYS(seccomp, SECCOMP_SET_MODE_FILTER, program->filter_flags, &program->filter) : 0;
    if (done >= 0)
        done = SYS(execve, program->path, program->argv, program->environment);
    SYS(write, line, &done, sizeof done);
    leave(127);
}

/* Its wait status, or -ETIMEDOUT, after which its whole group is killed. */
static long await(int pid, int64_t seconds)
{
    struct { int fd; short events, revents; } end = { (int)SYS(pidfd_open, pid, 0), 1, 0 };
    int64_t deadline = now_ns(CLOCK_MONOTONIC) + seconds * SECOND;
    int status = 0, late = 0;
    while (seconds && !late) {
        int64_t left = deadline - now_ns(CLOCK_MONOTONIC);
        struct { int64_t sec, nsec; } wait = { left / SECOND, left % SECOND };
        long n = left <= 0 ? 0 : SYS(ppoll, &end, 1, &wait, NULL, 0);
        if (n > 0 || (n < 0 && n != -EINTR))
            break;
        late = n == 0;
    }
    if (late)
        SYS(kill, -pid, SIGKILL);
    while (SYS(wait4, pid, &status, WALL, NULL) == -EINTR)
        ;
    if (end.fd >= 0)
        SYS(close, end.fd);
    return late ? -ETIMEDOUT : status;
}

/* The last line that has something in it, of at most the last 200 bytes. */
static void put_last_line(struct text *text, int output)
{
    char words[201];
    long size = SYS(lseek, output, 0, 2), from = size > 200 ? size - 200 : 0;
    long n = SYS(pread64, output, words, 200, from);
    while (n > 0 && (words[n - 1] == '\n' || words[n - 1] == ' '))
        n--;
    if (n <= 0)
        return;
    long start = n;
    while (start && words[start - 1] != '\n')
        start--;
    put(text, ": ");
    put_bytes(text, words + start, (size_t)(n - start));
}

static long blame_hook(const char *name, const char *path, int64_t seconds, long status, long exec_error, int output)
{
    TEXT(text, 400);
    put(&text, name);
    put(&text, " hook ");
    put(&text, path);
    if (exec_error < 0)
        return blame(exec_error, "execute", text.at);
    if (status == -ETIMEDOUT) {
        put(&text, ": not done within ");
        put_number(&text, seconds);
        put(&text, " s");
        return blame(-EREMOTEIO, "run", text.at);
    }
    put(&text, status & 0x7f ? ": signal " : ": exit code ");
    put_number(&text, status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
    put_last_line(&text, output);
    return blame(-EREMOTEIO, "run", text.at);
}

long hook(struct plan *args)
{
    static struct program program;
    const char *name = next_string(args);
    program.path = next_string(args);
    int64_t seconds = next_int(args);
    const char *state = next_string(args);
    uint32_t filter_size;
    next_list(args, program.argv, 256);
    next_list(args, program.environment, 1024);
    program.filter_flags = (uint64_t)next_int(args);
    program.filter.filter = (struct sock_filter *)next_bytes(args, &filter_size);
    program.filter.len = (unsigned short)(filter_size / sizeof(struct sock_filter));

    int line[2] = { -1, -1 };
    long input = state_file(state), output = memory_file("output"), pid = SYS(pipe2, line, O_CLOEXEC), exec_error = 0;
    if (input < 0 || output < 0)
        pid = input < 0 ? input : output;
    if (pid >= 0)
        pid = SYS(clone, SIGCHLD, 0, 0, 0, 0); /* not clone3, which a filter in force may not know */
    if (pid == 0)
        become_hook(&program, (int)input, (int)output, line[1]);
    long status = pid;
    if (pid > 0) {
        SYS(close, line[1]);
        SYS(read, line[0], &exec_error, sizeof exec_error);
        status = await((int)pid, seconds);
        line[1] = -1;
    }
    long done = pid < 0 ? blame(pid, "fork", program.path)
              : status || exec_error ? blame_hook(name, program.path, seconds, status, exec_error, (int)output) : 0;
    const int ours[] = { (int)input, (int)output, line[0], line[1] };
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i] >= 0)
            SYS(close, ours[i]);
    return done;
}
