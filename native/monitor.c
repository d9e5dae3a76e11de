/* The monitor: what remains of the helper while the container runs.
 *
 * It holds the container's streams, writes its log, serves clients on a seqpacket socket, starts the process again where
 * the policy says so, records how it ended and clears away what is left.  Clients and monitor exchange messages whose
 * first byte is their kind (monitor/client.py has the same table):
 *
 *     to the client    c pid            (only by CHILD) the process is made
 *                      p pid            the program runs
 *                      f failure        it could not be started
 *                      o bytes, e bytes standard output, standard error
 *                      s pid            (owner) the process waits for your part of its making
 *                      x code oom       it has ended for good and all is cleared away
 *     from the client  a                send me the output
 *                      i bytes, c       standard input, its end
 *                      w rows columns   the terminal's new size
 *                      q                do not start it again
 *                      g, x             (owner) my part is done, or failed
 *                      d                (owner) I have done what CLEANUP would do
 *
 * Nothing is lost to a slow client: as long as one has not taken the current chunk, no further one is read.
 */
#include "monitor.h"

#define CLIENTS 24
#define TERMINAL_HOLDS (1 << 18) /* more than its buffers */
#define SECOND 1000000000ll

struct config config;

static struct client { int fd, wants, behind, owner; } clients[CLIENTS];
static int listener = -1, signals = -1;
static char chunk[CHUNK + 1], pending[CHUNK + 1];
static size_t chunk_size, pending_at, pending_size;
static int input_ended, no_restart, owner_done;
static struct life life = { .pid = -1, .pid_fd = -1, .input = -1, .output = { -1, -1 } };

int configure(struct operation_record *operation)
{
    struct plan *args = &operation->args;
    switch (operation->code) {
    case OP_STATUS:
        config.status_path = next_string(args);
        config.exit_path = next_string(args);
        config.durable = (int)next_int(args);
        return 1;
    case OP_LOG:
        config.log_path = next_string(args);
        config.log_format = (int)next_int(args);
        config.log_bytes = next_int(args);
        config.log_files = next_int(args);
        return 1;
    case OP_ATTACH:
        config.attach_path = next_string(args);
        return 1;
    case OP_CGROUP:
        next_list(args, config.procs, 16);
        next_list(args, config.dirs, 32);
        config.kill_path = next_string(args);
        config.oom_path = next_string(args);
        return 1;
    case OP_RESTART:
        config.restart_policy = (int)next_int(args);
        config.restart_max = next_int(args);
        return 1;
    case OP_REMOVE:
        config.remove_path = next_string(args);
        return 1;
    case OP_CLEANUP:
        next_list(args, config.cleanup, 64);
        return 1;
    case OP_TIMEOUT:
        config.timeout = next_int(args);
        return 1;
    case OP_STDIN:
        return config.stdin_open = 1;
    case OP_TERMINAL:
        return config.terminal = 1;
    case OP_ORPHAN:
        return config.orphan = 1;
    case OP_CHILD:
        config.console_path = next_string(args);
        return config.child = config.orphan = 1;
    case OP_EXTERNAL:
        next_list(args, config.create, 64);
        next_list(args, config.start, 64);
        next_list(args, config.delete, 64);
        config.pid_path = next_string(args);
        config.console_path = next_string(args);
        config.error_log = next_string(args);
        return config.external = 1;
    case OP_SOURCE:
        if (config.source_count < GIVEN - 1)
            config.sources[config.source_count++] = *args;
        return 1;
    case OP_NET_DEVICE:
        if (config.device_count < 16)
            config.devices[config.device_count++] = *args;
        return 1;
    case OP_ENTER:
        if (config.enter_count < 8)
            config.enters[config.enter_count++] = *args;
        return 1;
    case OP_IDMAPPED:
        config.idmapped = *args;
        return config.has_idmapped = 1;
    case OP_RLIMIT:
        if (config.limit_count == 16)
            return 0;
        next_string(args);
        config.limits[config.limit_count].resource = next_int(args);
        next_int(args);
        config.limits[config.limit_count++].hard = (uint64_t)next_int(args);
        return 1;
    case OP_AGENT:
        config.agent_path = next_string(args);
        config.agent_state = *args;
        return 1;
    }
    return 0;
}

static int64_t field(const char *text, int number)
{
    /* The program's name, in parentheses, may hold anything: count from its last one. */
    const char *at = text, *end = text;
    for (; *at; at++)
        if (*at == ')')
            end = at;
    for (int i = 2; *end && i < number; end++)
        if (*end == ' ')
            i++;
    int64_t value = 0;
    for (; *end >= '0' && *end <= '9'; end++)
        value = value * 10 + (*end - '0');
    return value;
}

static void write_status(int restarts)
{
    if (!config.status_path)
        return;
    char stat[1024];
    TEXT(path, 64);
    TEXT(text, 256);
    put(&path, "/proc/");
    put_number(&path, life.pid);
    put(&path, "/stat");
    read_file(path.at, stat, sizeof stat);
    put(&text, "pid=");
    put_number(&text, life.pid);
    put(&text, "\nstarttime=");
    put_number(&text, field(stat, 22));
    put(&text, "\nstarted=");
    put_number(&text, life.started);
    put(&text, "\nrestarts=");
    put_number(&text, restarts);
    put(&text, "\n");
    replace_file(config.status_path, text.at, text.used, 0);
}

static void write_exit(int code, int oom)
{
    if (!config.exit_path)
        return;
    TEXT(text, 256);
    put(&text, "code=");
    put_number(&text, code);
    put(&text, "\nstarted=");
    put_number(&text, life.started);
    put(&text, "\nfinished=");
    put_number(&text, now_ns(CLOCK_REALTIME));
    put(&text, "\noom=");
    put_number(&text, oom);
    put(&text, "\n");
    replace_file(config.exit_path, text.at, text.used, config.durable);
}

/* How often the kernel killed for memory in the container's cgroup (v1 memory.oom_control, v2 memory.events). */
static int64_t oom_kills(void)
{
    char text[512];
    if (!config.oom_path || !*config.oom_path || read_file(config.oom_path, text, sizeof text) <= 0)
        return 0;
    for (const char *at = text; *at; at++)
        if (starts_with(at, "oom_kill ") && (at == text || at[-1] == '\n')) {
            int64_t value = 0;
            for (at += 9; *at >= '0' && *at <= '9'; at++)
                value = value * 10 + (*at - '0');
            return value;
        }
    return 0;
}

static void drop_client(struct client *client)
{
    SYS(close, client->fd);
    *client = (struct client){ .fd = -1 };
}

static void add_client(int fd, int owner)
{
    for (struct client *client = clients; client < clients + CLIENTS; client++)
        if (client->fd < 0) {
            *client = (struct client){ .fd = fd, .owner = owner };
            return;
        }
    SYS(close, fd);
}

static void say(struct client *client, const void *message, size_t size)
{
    /* The last words must arrive even if the socket is full just now, but not wait for ever. */
    struct { int fd; short events, revents; } ready = { client->fd, 4 /* POLLOUT */, 0 };
    struct { int64_t sec, nsec; } patience = { 5, 0 };
    if (SYS(sendto, client->fd, message, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) == -EAGAIN &&
        SYS(ppoll, &ready, 1, &patience, NULL, 0) == 1)
        SYS(sendto, client->fd, message, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

void tell_all(char kind, const void *content, size_t size)
{
    char message[sizeof(struct failure) + 1];
    message[0] = kind;
    memcpy(message + 1, content, size);
    for (struct client *client = clients; client < clients + CLIENTS; client++)
        if (client->fd >= 0)
            say(client, message, size + 1);
}

void report(int fd)
{
    char message[sizeof failure + 1] = { 'f' };
    memcpy(message + 1, &failure, sizeof failure);
    SYS(sendto, fd, message, sizeof message, MSG_NOSIGNAL, NULL, 0);
}

/* Tell the owner something that needs an answer, and wait for it; if the owner goes away, what was begun is off. */
long ask_owner(char kind, const void *content, size_t size)
{
    struct client *owner = clients;
    char message[64] = { kind }, answer;
    while (owner < clients + CLIENTS && !(owner->fd >= 0 && owner->owner))
        owner++;
    if (owner == clients + CLIENTS)
        return blame(-ENOTCONN, "run hooks", "without who started the container");
    memcpy(message + 1, content, size);
    long n = SYS(sendto, owner->fd, message, size + 1, MSG_NOSIGNAL, NULL, 0);
    while (n > 0 || n == -EINTR) {
        n = SYS(recvfrom, owner->fd, &answer, 1, 0, NULL, NULL);
        if (n > 0 && answer == 'g')
            return 0;
        if (n > 0 && answer == 'x')
            n = 0;
        else if (n > 0 && answer == 'a')
            owner->wants = 1;
    }
    return blame(n < 0 ? n : -ECANCELED, "wait for", "who started the container");
}

static void offer_chunk(struct client *client)
{
    long done = SYS(sendto, client->fd, chunk, chunk_size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    if (done == -EAGAIN) {
        client->behind = 1;
    } else {
        client->behind = 0;
        if (done < 0)
            drop_client(client);
    }
}

static int any_behind(void)
{
    for (struct client *client = clients; client < clients + CLIENTS; client++)
        if (client->fd >= 0 && client->behind)
            return 1;
    return 0;
}

static void close_output(int i)
{
    if (life.output[i] < 0)
        return;
    if (life.input == life.output[i])
        life.input = -1;
    SYS(close, life.output[i]);
    life.output[i] = -1;
}

/* One chunk of a stream to the log and to who listens; 0 when there is nothing (more) to read now. */
static int pump(int i)
{
    if (life.output[i] < 0 || any_behind())
        return 0;
    long n = SYS(read, life.output[i], chunk + 1, CHUNK);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    if (n <= 0) { /* a terminal whose slave is closed says EIO */
        close_output(i);
        return 0;
    }
    chunk[0] = i ? 'e' : 'o';
    chunk_size = (size_t)n + 1;
    log_write(i ? "stderr" : "stdout", chunk + 1, (size_t)n);
    for (struct client *client = clients; client < clients + CLIENTS; client++)
        if (client->fd >= 0 && client->wants)
            offer_chunk(client);
    return 1;
}

static void close_input(void)
{
    if (life.input >= 0 && life.input != life.output[0])
        SYS(close, life.input);
    if (life.input != life.output[0])
        life.input = -1;
}

static void feed(void)
{
    while (pending_at < pending_size && life.input >= 0) {
        long n = SYS(write, life.input, pending + pending_at, pending_size - pending_at);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            close_input();
            break;
        }
        pending_at += (size_t)n;
    }
    pending_at = pending_size = 0;
    if (input_ended)
        close_input();
}

static void resize(const char *content)
{
    struct { unsigned short rows, columns, x, y; } size = { 0 };
    memcpy(&size, content, 4);
    if (config.terminal && life.output[0] >= 0)
        SYS(ioctl, life.output[0], TIOCSWINSZ, &size);
}

static void hear(struct client *client)
{
    static char message[CHUNK + 1];
    long n = SYS(recvfrom, client->fd, message, sizeof message, MSG_DONTWAIT, NULL, NULL);
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n <= 0) {
        drop_client(client);
        return;
    }
    switch (message[0]) {
    case 'a':
        client->wants = 1;
        break;
    case 'i':
        memcpy(pending, message + 1, (size_t)n - 1);
        pending_at = 0, pending_size = (size_t)n - 1;
        feed();
        break;
    case 'c':
        input_ended = 1;
        feed();
        break;
    case 'w':
        if (n >= 5)
            resize(message + 1);
        break;
    case 'q':
        no_restart = 1;
        break;
    case 'd':
        owner_done |= client->owner;
        break;
    }
}

static void pass_signal(void)
{
    struct { uint32_t number; char rest[124]; } info;
    if (SYS(read, signals, &info, sizeof info) == sizeof info && info.number == SIGTERM && life.pid > 0) {
        no_restart = 1;
        SYS(kill, life.pid, SIGTERM);
    }
}

struct pollfd { int fd; short events, revents; };
#define IN 1
#define OUT 4

/* Wait for anything to happen, at most until `deadline` (monotonic ns, 0: for ever), and deal with it. */
static void turn(int64_t deadline)
{
    struct pollfd set[CLIENTS + 6];
    struct client *who[CLIENTS + 6];
    struct { int64_t sec, nsec; } wait = { 0, 0 };
    int n = 0, behind = any_behind();
    int64_t left = deadline ? deadline - now_ns(CLOCK_MONOTONIC) : 0;
    if (left > 0)
        wait.sec = left / SECOND, wait.nsec = left % SECOND;
#define WATCH(descriptor, what, client) \
    if ((descriptor) >= 0) \
        set[n] = (struct pollfd){ descriptor, what, 0 }, who[n++] = client
    WATCH(listener, IN, NULL);
    WATCH(signals, IN, NULL);
    WATCH(life.pid_fd, IN, NULL);
    if (!behind) {
        WATCH(life.output[0], IN, NULL);
        WATCH(life.output[1], IN, NULL);
    }
    int waiting = pending_at < pending_size;
    if (waiting && life.input >= 0 && (behind || life.input != life.output[0])) {
        WATCH(life.input, OUT, NULL);
    } else if (waiting && life.input >= 0) {
        for (int i = 0; i < n; i++)
            if (set[i].fd == life.input)
                set[i].events |= OUT;
    }
    for (struct client *client = clients; client < clients + CLIENTS; client++) {
        WATCH(client->fd, (short)((waiting ? 0 : IN) | (client->behind ? OUT : 0)), client);
    }
#undef WATCH
    if (SYS(ppoll, set, n, deadline ? &wait : NULL, NULL, 0) <= 0)
        return;
    for (int i = n - 1; i >= 0; i--) { /* clients first: one that has just asked for output gets all of it */
        struct client *client = who[i];
        if (!set[i].revents)
            continue;
        if (client && client->fd == set[i].fd) {
            if (client->behind && set[i].revents & OUT)
                offer_chunk(client);
            if (client->fd == set[i].fd && set[i].revents & ~OUT && pending_at >= pending_size)
                hear(client);
            else if (client->fd == set[i].fd && set[i].revents & ~(OUT | IN))
                drop_client(client);
        } else if (set[i].fd == listener) {
            long fd = SYS(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                add_client((int)fd, 0);
        } else if (set[i].fd == signals) {
            pass_signal();
        } else {
            if (set[i].fd == life.input && set[i].revents & OUT)
                feed();
            for (int j = 0; j < 2; j++)
                if (set[i].fd == life.output[j] && set[i].revents & ~OUT)
                    pump(j);
        }
    }
}

static int ended(int *code)
{
    int status;
    if (SYS(wait4, life.pid, &status, WNOHANG | WALL, NULL) != life.pid)
        return 0;
    *code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
    return 1;
}

/* Serve until the process has ended and all it wrote has been passed on; its exit code. */
static int live(void)
{
    int64_t deadline = config.timeout ? life.began + config.timeout * SECOND : 0;
    int code = 0;
    turn(1); /* what clients have already said: they may want the output of a program that is gone in a moment */
    while (!ended(&code)) {
        if (deadline && now_ns(CLOCK_MONOTONIC) >= deadline) {
            SYS(kill, life.pid, SIGKILL);
            deadline = 0;
        }
        turn(deadline);
    }
    SYS(close, life.pid_fd);
    life.pid_fd = -1;
    /* What is still in the pipes belongs to the container; processes elsewhere may keep them open, and even go on writing:
     * no more is taken than a pipe can hold now. */
    for (int i = 0; i < 2; i++) {
        long room = life.output[i] < 0 ? 0 : SYS(fcntl, life.output[i], F_GETPIPE_SZ);
        for (room = room < 0 ? TERMINAL_HOLDS : room; room > 0; room -= (long)chunk_size - 1) {
            while (any_behind())
                turn(0);
            if (!pump(i))
                break;
        }
    }
    while (any_behind())
        turn(0);
    close_input();
    close_output(0);
    close_output(1);
    return code;
}

static int wants_restart(int code, int64_t restarts)
{
    if (no_restart || !config.restart_policy)
        return 0;
    if (config.restart_policy == 1)
        return code != 0 && (!config.restart_max || restarts < config.restart_max);
    return 1;
}

/* Sleep between restarts, twice as long each time up to a minute; still serving, so that a stop is heard. */
static void back_off(int64_t *delay)
{
    if (now_ns(CLOCK_MONOTONIC) - life.began > 10 * SECOND)
        *delay = 0;
    *delay = *delay ? *delay * 2 : SECOND / 10;
    if (*delay > 60 * SECOND)
        *delay = 60 * SECOND;
    int64_t deadline = now_ns(CLOCK_MONOTONIC) + *delay;
    while (!no_restart && now_ns(CLOCK_MONOTONIC) < deadline)
        turn(deadline);
}

static void clear_away(void)
{
    if (setup.attached) /* for another runtime, in the monitor's own mount namespace */
        SYS(umount2, setup.attached, MNT_DETACH);
    clear_cgroups();
    if (config.status_path)
        SYS(unlinkat, AT_FDCWD, config.status_path, 0);
    if (config.attach_path)
        SYS(unlinkat, AT_FDCWD, config.attach_path, 0);
    if (config.remove_path)
        remove_tree(config.remove_path);
    release_layers();
}

/* Let the owner do what comes after; without one, or if it went away, become the command that does. */
static void hand_over(void)
{
    static const char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
    int owned = 1;
    while (owned && !owner_done && config.cleanup[0]) {
        owned = 0;
        for (struct client *client = clients; client < clients + CLIENTS; client++)
            owned |= client->fd >= 0 && client->owner;
        if (owned)
            turn(0);
    }
    if (owner_done || !config.cleanup[0])
        leave(0);
    uint64_t none = 0;
    SYS(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    SYS(close_range, 3, ~0u, 0);
    SYS(execve, config.cleanup[0], config.cleanup, environment);
    leave(125);
}

static void prepare(void)
{
    uint64_t term = 1ull << (SIGTERM - 1);
    struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } ignore = { (void *)1, 0, NULL, 0 };
    const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP };
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        SYS(rt_sigaction, ignored[i], &ignore, NULL, sizeof ignore.mask);
    for (struct client *client = clients; client < clients + CLIENTS; client++)
        client->fd = -1;
    SYS(fcntl, REPORT_FD, F_SETFD, 1 /* FD_CLOEXEC */);
    add_client(REPORT_FD, 1);
    if (config.orphan)
        return;
    SYS(rt_sigprocmask, SIG_BLOCK, &term, NULL, sizeof term);
    signals = (int)SYS(signalfd4, -1, &term, sizeof term, 02000000 | 04000);
    SYS(prctl, PR_SET_CHILD_SUBREAPER, config.external, 0, 0, 0);
    if (config.attach_path)
        listener = bind_unix(config.attach_path, SOCK_SEQPACKET);
    log_open();
}

static void fail_start(void)
{
    struct failure reason = failure;
    external_delete();
    failure = reason;
    clear_cgroups();
    release_layers();
    if (config.attach_path)
        SYS(unlinkat, AT_FDCWD, config.attach_path, 0);
    tell_all('f', &failure, sizeof failure);
    leave(125);
}

static void leave_orphan(void)
{
    tell_all('p', &life.pid, sizeof life.pid);
    leave(0);
}

/* Whoever started the helper gets no child to wait for: the monitor belongs to init (or the nearest subreaper).  To be
 * done before anything is joined: a child of a process that has joined a pid namespace is born inside it. */
void detach(void)
{
    long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (child > 0)
        leave(0);
    if (child < 0) {
        blame(child, "fork", "the monitor");
        report(REPORT_FD);
        leave(125);
    }
}

void monitor_main(struct plan plan, struct plan clone_args)
{
    int64_t delay = 0;
    int restarts = 0, code, oom;
    prepare();
    if (begin_life(&life, plan, clone_args) < 0)
        fail_start();
    if (config.orphan)
        leave_orphan();
    write_status(0);
    tell_all('p', &life.pid, sizeof life.pid);
    for (;;) {
        int64_t before = oom_kills();
        code = live();
        oom = oom_kills() > before;
        write_exit(code, oom);
        external_delete();
        if (!wants_restart(code, restarts))
            break;
        back_off(&delay);
        if (no_restart)
            break;
        if (begin_life(&life, plan, clone_args) < 0) {
            write_exit(code = failure.error == ENOENT ? 127 : 126, 0);
            external_delete();
            break;
        }
        write_status(++restarts);
    }
    life.pid = -1;
    int32_t last[2] = { code, oom };
    clear_away();
    tell_all('x', last, sizeof last);
    hand_over();
    leave(0);
}
