/* A process born in namespaces that its parent's maker joins for it.
 *
 * What clone3 makes belongs to the user namespace of who calls it, so one that is to own the others has to be joined before;
 * and nobody who has joined one gets out again.  A helper that has nothing else to do after the birth joins by itself; a
 * monitor, which has, lets a go-between do so, whose child becomes the monitor's (CLONE_PARENT). */
#include "monitor.h"

static const char *path_of(int i, int64_t *type)
{
    struct plan args = config.enters[i];
    const char *path = next_string(&args);
    *type = next_int(&args);
    return path;
}

/* Root of the machine may join everything before the user namespace; the owner of a user namespace, only after. */
static long enter_all(void)
{
    int fds[8], todo = config.enter_count;
    int64_t type;
    for (int i = 0; i < config.enter_count; i++) {
        const char *path = path_of(i, &type);
        fds[i] = (int)SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (fds[i] < 0)
            return blame(fds[i], "open", path);
    }
    for (int pass = 0; pass < 3; pass++)
        for (int i = 0; i < config.enter_count; i++) {
            const char *path = path_of(i, &type);
            if (fds[i] < 0 || (type == CLONE_NEWUSER) != (pass == 1))
                continue;
            long done = SYS(setns, fds[i], type);
            if (done == -EPERM && pass == 0)
                continue;
            if (done < 0)
                return blame(done, "setns", path);
            SYS(close, fds[i]);
            fds[i] = -1;
            todo--;
        }
    return todo ? blame(-EPERM, "setns", "") : 0;
}

struct birth { int pid; struct failure failure; };

static void go_between(struct clone_args *how, int *pid_fd, int line)
{
    struct birth birth = { -1, { 0 } };
    long done = enter_all();
    if (done >= 0) {
        how->flags |= CLONE_PARENT;
        how->exit_signal = 0; /* it is the same as ours */
        done = SYS(clone3, how, sizeof *how);
        if (done == 0)
            return;
        if (done < 0)
            blame(done, "clone3", "");
    }
    birth.pid = (int)done;
    birth.failure = failure;
    send_fd(line, &birth, sizeof birth, done > 0 ? *pid_fd : -1);
    leave(0);
}

long give_birth(struct clone_args *how, int *pid_fd)
{
    struct birth birth = { 0 };
    int line[2], status;
    long done = 0;
    if (!config.enter_count || config.child) {
        done = config.enter_count ? enter_all() : 0;
        if (done < 0)
            return done;
        done = SYS(clone3, how, sizeof *how);
        return done < 0 ? blame(done, "clone3", "") : done;
    }
    done = SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line);
    if (done < 0)
        return blame(done, "socketpair", "");
    long other = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (other == 0) {
        SYS(close, line[0]);
        go_between(how, pid_fd, line[1]);
        SYS(close, line[1]); /* we are the child's child now */
        return 0;
    }
    SYS(close, line[1]);
    done = other < 0 ? blame(other, "fork", "") : receive_fd(line[0], &birth, sizeof birth, pid_fd);
    SYS(close, line[0]);
    if (other > 0)
        SYS(wait4, other, &status, WALL, NULL);
    if (done > 0 && birth.pid < 0) {
        failure = birth.failure;
        return -failure.error;
    }
    return done > 0 ? birth.pid : done < 0 ? done : blame(-ECHILD, "clone3", "");
}
