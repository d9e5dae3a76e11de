/* The operations that make the container's process what it is: which function does which. */
#include "process.h"

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
    case OP_KEEP_GROUPS:
        return leave_groups();
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
        return look_for_program(args);
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
