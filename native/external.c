/* The container's life by another OCI runtime: this process, the monitor, runs its commands. */
#include "monitor.h"

static const int none[3] = { -1, -1, -1 };

/* Run a program to its end with these standard streams (-1: ours) and, after them, `keep` descriptors from `keep_from`
 * on; its exit code or -errno. */
long run_wait(const char **argv, const int stdio[3], int keep, int keep_from)
{
    static const char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
    struct clone_args how = { .exit_signal = SIGCHLD };
    int status = 0;
    long pid = SYS(clone3, &how, sizeof how);
    if (pid == 0) {
        default_signals();
        for (int i = 0; i < 3; i++)
            if (stdio[i] >= 0)
                SYS(dup3, stdio[i], i, 0);
        for (int i = 0; i < keep; i++)
            SYS(dup3, keep_from + i, 3 + i, 0);
        SYS(close_range, 3 + keep, ~0u, CLOSE_RANGE_CLOEXEC);
        run_program(argv, environment);
        leave(127);
    }
    if (pid < 0)
        return pid;
    long done;
    do
        done = SYS(wait4, pid, &status, WALL, NULL);
    while (done == -EINTR);
    return done < 0 ? done : status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* The last line of the runtime's own log says what was wrong better than its exit code. */
static long blame_runtime(long code)
{
    static char words[4096];
    if (code >= 0 && config.error_log && read_file(config.error_log, words, sizeof words) > 0) {
        failure.operation = OP_EXTERNAL;
        return blame(-EIO, "", words);
    }
    return blame(code < 0 ? code : -EIO, "run", config.create[0]);
}

static long read_pid(const char *path)
{
    char digits[32];
    long pid = 0;
    if (read_file(path, digits, sizeof digits) <= 0)
        return -ESRCH;
    for (const char *at = digits; *at >= '0' && *at <= '9'; at++)
        pid = pid * 10 + (*at - '0');
    return pid;
}

static long external_terminal(struct life *life, int listener)
{
    char name[64];
    int master = -1;
    long client = SYS(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return blame(client, "accept", config.console_path);
    receive_fd((int)client, name, sizeof name, &master);
    SYS(close, client);
    return master < 0 ? blame(-EBADF, "receive", "the terminal") : take_terminal(life, master);
}

/* Create and start; the container's process becomes our child, for we are a subreaper. */
long external_child(struct life *life)
{
    struct pipes pipes;
    long listener = -1, done = make_pipes(&pipes);
    SYS(unlinkat, AT_FDCWD, config.error_log, 0); /* what it says now is about this start */
    if (done >= 0 && config.terminal)
        done = listener = bind_unix(config.console_path, SOCK_STREAM);
    if (done >= 0) {
        int stdio[3] = { pipes.input[0], pipes.output[1], pipes.error[1] };
        done = run_wait(config.create, stdio, setup.keep, setup.keep_from);
    }
    if (done != 0)
        done = blame_runtime(done);
    else if (listener >= 0)
        done = external_terminal(life, (int)listener);
    if (listener >= 0) {
        SYS(close, listener);
        SYS(unlinkat, AT_FDCWD, config.console_path, 0);
    }
    int terminal = config.terminal;
    struct life ends = *life;
    keep_our_ends(&ends, &pipes);
    if (!terminal)
        *life = ends;
    if (done < 0)
        return done;
    life->pid = (int)(done = read_pid(config.pid_path));
    if (done > 0)
        life->pid_fd = (int)(done = SYS(pidfd_open, life->pid, 0));
    if (done < 0)
        return blame(done, "find the process of", config.create[0]);
    if (config.start[0]) {
        done = run_wait(config.start, none, 0, 0);
        if (done != 0)
            return blame_runtime(done);
    }
    return 0;
}

/* The runtime keeps what has ended until it is told to delete it; only then is the id free again. */
void external_delete(void)
{
    if (config.delete[0])
        run_wait(config.delete, none, 0, 0);
}
