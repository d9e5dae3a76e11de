/* Bringing the container's process to life: clone it, give it ids and cgroups, follow it until its program runs; another
 * OCI runtime does so in external.c.
 *
 * The channel between monitor (M) and child (C) is a seqpacket pair, closed on C's side by EXEC:
 *
 *     M → C   D [fd]      a mount of IDMAPPED or SOURCE, or none where it could not be opened
 *     M → C   G           maps are written, all is given: go on
 *     C → M   M fd        the master of the terminal
 *     C → M   S who       stopped by SYNC; G lets it go on
 *     C → M   F failure   an operation failed; C has ended
 *     C → M   R           ready (WAIT_START, PAUSE)
 *     C → M   N fd        the listener of the filter (seccomp.c)
 *     M → C   G           the agent has it
 *     C → M   P pid fd    C ends, another process goes on in its place (fork_inside.c)
 *     M → C   G           to that one
 *     C → M   end         the program runs
 */
#include "monitor.h"

static void close_pipes(struct pipes *pipes)
{
    for (int i = 0; i < 2; i++) {
        close_if(pipes->input[i]);
        close_if(pipes->output[i]);
        close_if(pipes->error[i]);
        pipes->input[i] = pipes->output[i] = pipes->error[i] = -1;
    }
}

/* Index 0 of each pair is the end that is read.  Without a pipe for input the child reads /dev/null. */
long make_pipes(struct pipes *pipes)
{
    *pipes = (struct pipes){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
    if (config.terminal || config.orphan)
        return 0;
    long done = SYS(pipe2, pipes->output, O_CLOEXEC);
    if (done >= 0)
        done = SYS(pipe2, pipes->error, O_CLOEXEC);
    if (done >= 0 && config.stdin_open)
        done = SYS(pipe2, pipes->input, O_CLOEXEC);
    else if (done >= 0)
        done = pipes->input[0] = (int)SYS(openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (done < 0)
        close_pipes(pipes);
    return named(done, "make", "pipes");
}

void keep_our_ends(struct life *life, struct pipes *pipes)
{
    life->input = pipes->input[1];
    life->output[0] = pipes->output[0];
    life->output[1] = pipes->error[0];
    pipes->input[1] = pipes->output[0] = pipes->error[0] = -1;
    close_pipes(pipes);
    for (int i = 0; i < 3; i++) {
        int fd = i < 2 ? life->output[i] : life->input;
        if (fd >= 0)
            SYS(fcntl, fd, F_SETFL, (i < 2 ? O_RDONLY : O_WRONLY) | O_NONBLOCK);
    }
}

/* Joining control groups.  A process moved by writing its number to cgroup.procs waits for an RCU grace period, some ten
 * milliseconds; not so a thread that moves itself (v1: "0" written to tasks, which for a process of one thread is the
 * same), nor a process born in its group (v2: CLONE_INTO_CGROUP).  Files and directory are opened by the monitor, whose
 * permissions count. */
struct groups { int tasks[16], count, unified; };

#define CGROUP2_MAGIC 0x63677270

static void close_groups(struct groups *groups)
{
    for (int i = 0; i < groups->count; i++)
        close_if(groups->tasks[i]);
    close_if(groups->unified);
}

static long open_groups(struct groups *groups)
{
    *groups = (struct groups){ .unified = -1 };
    for (const char **path = config.procs; *path; path++) {
        long file_system[32] = { 0 };
        TEXT(name, PATH_MAX);
        put_bytes(&name, *path, strlen(*path) - strlen("cgroup.procs"));
        SYS(statfs, name.at, file_system);
        long fd;
        if (file_system[0] == CGROUP2_MAGIC) {
            fd = groups->unified = (int)SYS(openat, AT_FDCWD, name.at, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        } else {
            put(&name, "tasks");
            fd = SYS(openat, AT_FDCWD, name.at, O_WRONLY | O_CLOEXEC, 0);
            if (fd >= 0)
                groups->tasks[groups->count++] = (int)fd;
        }
        if (fd < 0) {
            close_groups(groups);
            return blame(fd, "open cgroup", *path);
        }
    }
    return 0;
}

static long enter_groups(const struct groups *groups)
{
    for (int i = 0; i < groups->count; i++) {
        long done = SYS(write, groups->tasks[i], "0", 1);
        if (done < 0)
            return blame(done, "join cgroup", config.procs[i]);
    }
    return 0;
}

static void child_fails(void)
{
    struct { char say; struct failure failure; } __attribute__((packed)) message = { SAY_FAILED, failure };
    send_fd(setup.channel, &message, sizeof message, -1);
    leave(failure.error == ENOENT ? 127 : 126);
}

static void child_main(int channel, struct pipes *pipes, struct groups *groups, struct plan plan)
{
    struct operation_record operation = { 0 };
    char say;
    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* a half-made container does not outlive its parent */
    if (config.child)
        SYS(close, REPORT_FD); /* if the helper is killed, who started it shall hear so */
    setup.channel = channel;
    int given;
    while (receive_fd(channel, &say, 1, &given) == 1 && say == SAY_GIVEN)
        if (setup.given_count < GIVEN)
            setup.given[setup.given_count++] = given;
    if (say != SAY_GO)
        leave(125);
    if (enter_groups(groups) < 0) {
        failure.operation = OP_CGROUP;
        child_fails();
    }
    close_groups(groups);
    if (!has(plan, OP_FORK_INSIDE))
        SYS(setsid); /* signals to the group of whoever started us are not ours, nor is its terminal (TIOCSTI) */
    if (pipes->output[1] >= 0) {
        SYS(dup3, pipes->input[0], 0, 0);
        SYS(dup3, pipes->output[1], 1, 0);
        SYS(dup3, pipes->error[1], 2, 0);
    }
    while (next_operation(&plan, &operation))
        if (perform(&operation) < 0) {
            failure.operation = (int32_t)operation.code;
            failure.index = operation.index;
            child_fails();
        }
    leave(0);
}

static long write_proc(int pid, const char *name, const char *content)
{
    TEXT(path, 64);
    put(&path, "/proc/");
    put_number(&path, pid);
    put(&path, "/");
    put(&path, name);
    return named(write_file(path.at, content, strlen(content)), "write", path.at);
}

/* Write a map; ids that are not ours to give are left to the program that knows who was granted which.  newuidmap(1) */
static long write_map(int pid, const char *name, const char *program, const char *map)
{
    static char words[8192];
    static const char *argv[1024];
    const int ours[3] = { -1, -1, -1 };
    long done = write_proc(pid, name, map);
    if (done != -EPERM || strlen(map) >= sizeof words - 16)
        return done;
    struct text number = { words, 0, 16 };
    put_number(&number, pid);
    memcpy(words + 16, map, strlen(map) + 1);
    int count = 0;
    argv[count++] = program;
    argv[count++] = words;
    for (char *at = words + 16; *at && count < 1023; at++) {
        if (*at != ' ' && *at != '\n' && (at == words + 16 || !at[-1]))
            argv[count++] = at;
        if (*at == ' ' || *at == '\n')
            *at = 0;
    }
    argv[count] = NULL;
    long code = run_wait(argv, ours, 0, 0);
    if (code == 127)
        return blame(-EPERM, "write the map of ids, for which a program is missing:", program);
    return code < 0 ? blame(code, "run", program) : code ? blame(-EPERM, "write the map of ids by", program) : 0;
}

/* The owner of the map may write it from outside; groups must be given up first where the map is the user's own. */
static long map_ids(int pid, struct plan *args)
{
    const char *uid_map = next_string(args), *gid_map = next_string(args);
    int deny_groups = (int)next_int(args);
    long done = 0;
    if (deny_groups)
        done = write_proc(pid, "setgroups", "deny");
    if (done >= 0 && *gid_map)
        done = write_map(pid, "gid_map", "newgidmap", gid_map);
    if (done >= 0 && *uid_map)
        done = write_map(pid, "uid_map", "newuidmap", uid_map);
    return done;
}

/* A process in a user namespace of its own may not raise a hard limit, whatever it is there; we may.  If not, that is for
 * its own RLIMIT to say, which follows. */
static void make_room(int pid)
{
    for (int i = 0; i < config.limit_count; i++) {
        struct { uint64_t soft, hard; } limit;
        if (SYS(prlimit64, pid, config.limits[i].resource, NULL, &limit) < 0 || limit.hard >= config.limits[i].hard)
            continue;
        limit.hard = config.limits[i].hard;
        SYS(prlimit64, pid, config.limits[i].resource, &limit, NULL);
    }
}

static long let_go(struct life *life, int channel, struct plan *clone_args)
{
    char say = SAY_GO;
    long done = map_ids(life->pid, clone_args);
    make_room(life->pid);
    if (done >= 0)
        done = give_sources(life->pid, channel);
    if (done >= 0)
        done = named(send_fd(channel, &say, 1, -1), "talk to", "the container's process");
    return done;
}

/* A terminal's master goes to whoever asked for it by a console socket, or stays as the container's streams. */
long take_terminal(struct life *life, int master)
{
    if (config.orphan) {
        long console = connect_unix(config.console_path, SOCK_STREAM);
        long done = console < 0 ? console : send_fd((int)console, "/dev/ptmx", 9, master);
        close_if((int)console);
        SYS(close, master);
        return named(done, "send the terminal to", config.console_path);
    }
    SYS(fcntl, master, F_SETFL, O_RDWR | O_NONBLOCK);
    life->input = life->output[0] = master;
    return 0;
}

static long pass_listener(struct life *life, int channel, int listener)
{
    char say = SAY_GO;
    long done = tell_agent(listener, life->pid);
    SYS(close, listener);
    return done < 0 ? done : named(send_fd(channel, &say, 1, -1), "talk to", "the container's process");
}

static long follow_entered(struct life *life, int channel, int pid, int pid_fd)
{
    char say = SAY_GO;
    int status;
    if (config.child)
        tell_all('c', &pid, sizeof pid); /* whose child the last one was, too */
    else
        SYS(wait4, life->pid, &status, WALL, NULL);
    close_if(life->pid_fd);
    life->pid = pid;
    life->pid_fd = pid_fd;
    return named(send_fd(channel, &say, 1, -1), "talk to", "the container's process");
}

static long let_sync(struct life *life, int channel, int who)
{
    char say = SAY_GO;
    long done = who == 1 ? move_devices(life->pid) : ask_owner('s', &life->pid, sizeof life->pid);
    return done < 0 ? done : named(send_fd(channel, &say, 1, -1), "talk to", "the container's process");
}

/* Until its program runs, or it says that it is ready.  Once it has forked into the container, somebody there may speak in
 * its name: what it has said is not heard twice, and only what can still be to come. */
static long follow(struct life *life, int channel)
{
    struct { char say; struct failure failure; } __attribute__((packed)) message;
    int entered = 0, listened = 0, terminal = 0;
    for (;;) {
        int fd;
        long n = receive_fd(channel, &message, sizeof message, &fd);
        if (n <= 0)
            return named(n, "listen to", "the container's process");
        if (message.say == SAY_READY)
            return 0;
        if (message.say == SAY_FAILED) {
            failure = message.failure;
            failure.error = failure.error > 0 && failure.error < 4096 ? failure.error : EPROTO;
            return -failure.error;
        }
        if (message.say == SAY_LISTENER && fd >= 0 && config.agent_path && !listened++)
            n = pass_listener(life, channel, fd);
        else if (message.say == SAY_ENTERED && fd >= 0 && !entered++)
            n = follow_entered(life, channel, message.failure.error, fd);
        else if (message.say == SAY_TERMINAL && fd >= 0 && config.terminal && !entered && !terminal++)
            n = take_terminal(life, fd);
        else if (message.say == SAY_SYNC && !entered)
            n = let_sync(life, channel, ((const char *)&message)[1]);
        else
            n = blame(-EPROTO, "listen to", "the container's process");
        if (n < 0)
            return n;
    }
}

static void end_life(struct life *life)
{
    int status;
    if (life->pid > 0) {
        SYS(kill, life->pid, SIGKILL);
        SYS(wait4, life->pid, &status, WALL, NULL);
    }
    close_if(life->pid_fd);
    close_if(life->output[0]);
    close_if(life->output[1]);
    if (life->input != life->output[0])
        close_if(life->input);
    *life = (struct life){ .pid = -1, .pid_fd = -1, .input = -1, .output = { -1, -1 } };
}

static long clone_child(struct life *life, struct plan plan, struct plan clone_args)
{
    struct pipes pipes;
    struct groups groups;
    int channel[2];
    long done = open_groups(&groups);
    if (done < 0)
        return done;
    done = make_pipes(&pipes);
    if (done >= 0 && (done = SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel)) < 0) {
        close_pipes(&pipes);
        blame(done, "socketpair", "");
    }
    if (done < 0) {
        close_groups(&groups);
        return done;
    }
    struct clone_args how = { .flags = (uint64_t)next_int(&clone_args) | CLONE_PIDFD,
                              .exit_signal = SIGCHLD, .pidfd = (uint64_t)(uintptr_t)&life->pid_fd };
    if (groups.unified >= 0) {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = (uint64_t)groups.unified;
    }
    if (config.child) {
        how.flags |= CLONE_PARENT; /* and with it the exit signal */
        how.exit_signal = 0;
    }
    done = open_sources();
    if (done >= 0 && (done = give_birth(&how, &life->pid_fd)) == 0) {
        SYS(close, channel[0]);
        child_main(channel[1], &pipes, &groups, plan);
    }
    SYS(close, channel[1]);
    close_groups(&groups);
    keep_our_ends(life, &pipes);
    life->pid = (int)done;
    if (done > 0 && config.child)
        tell_all('c', &life->pid, sizeof life->pid);
    if (done >= 0 && (done = let_go(life, channel[0], &clone_args)) >= 0)
        done = follow(life, channel[0]);
    SYS(close, channel[0]);
    return done;
}

/* Start the container's process; 0 once its program runs (or is ready), else -errno with `failure` filled in. */
long begin_life(struct life *life, struct plan plan, struct plan clone_args)
{
    *life = (struct life){ .pid = -1, .pid_fd = -1, .input = -1, .output = { -1, -1 } };
    failure.error = 0;
    long done = config.external ? external_child(life) : clone_child(life, plan, clone_args);
    if (done < 0) {
        return_devices();
        end_life(life);
    } else {
        keep_devices();
    }
    life->started = now_ns(CLOCK_REALTIME);
    life->began = now_ns(CLOCK_MONOTONIC);
    return done;
}
