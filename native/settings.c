/* How the kernel treats the process: processor time, input and output, memory, labels.  sched_setattr(2), ioprio_set(2),
 * sched_setaffinity(2), set_mempolicy(2), personality(2), apparmor(7), setexeccon(3) */
#include "process.h"

#define IOPRIO_WHO_PROCESS 1
#define KEYCTL_JOIN_SESSION_KEYRING 1

long set_scheduler(struct plan *args)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t least, most;
    } attributes = { .size = sizeof attributes };
    attributes.policy = (uint32_t)next_int(args);
    attributes.nice = (int32_t)next_int(args);
    attributes.priority = (uint32_t)next_int(args);
    attributes.flags = (uint64_t)next_int(args);
    attributes.runtime = (uint64_t)next_int(args);
    attributes.deadline = (uint64_t)next_int(args);
    attributes.period = (uint64_t)next_int(args);
    return named(SYS(sched_setattr, 0, &attributes, 0), "process.scheduler: sched_setattr", "");
}

long set_io_priority(struct plan *args)
{
    return named(SYS(ioprio_set, IOPRIO_WHO_PROCESS, 0, next_int(args)), "process.ioPriority: ioprio_set", "");
}

long set_affinity(struct plan *args)
{
    uint32_t size;
    const char *mask = next_bytes(args, &size);
    return named(SYS(sched_setaffinity, 0, size, mask), "process.execCPUAffinity: sched_setaffinity", next_string(args));
}

long set_memory_policy(struct plan *args)
{
    int64_t mode = next_int(args);
    uint32_t size;
    const char *nodes = next_bytes(args, &size);
    /* The kernel reads one bit less than it is told. */
    long done = SYS(set_mempolicy, mode, size ? nodes : NULL, size ? size * 8 + 1 : 0);
    return named(done, "linux.memoryPolicy: set_mempolicy", "");
}

/* A security module's attribute of this process.  Without the module there is no such file, or it takes no words. */
static long set_attribute(const char *path, const char *value)
{
    long fd = SYS(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long done = SYS(write, fd, value, strlen(value));
    SYS(close, fd);
    return done < 0 ? done : 0;
}

static int file_says(const char *path, char word)
{
    char text[8];
    return read_file(path, text, sizeof text) > 0 && (!word || text[0] == word);
}

/* The labels of the program, from its execution on.  Written while the host's /proc and /sys can still be seen: what the
 * image calls so is not asked. */
long set_labels(struct plan *args)
{
    const char *profile = next_string(args), *label = next_string(args);
    if (*profile) {
        TEXT(text, 600);
        if (!file_says("/sys/module/apparmor/parameters/enabled", 'Y'))
            return blame(-EOPNOTSUPP, "process.apparmorProfile: this kernel has no AppArmor for", profile);
        put(&text, "exec ");
        put(&text, profile);
        long done = set_attribute("/proc/self/attr/apparmor/exec", text.at);
        if (done == -ENOENT)
            done = set_attribute("/proc/self/attr/exec", text.at);
        if (done < 0)
            return blame(done, "process.apparmorProfile", profile);
    }
    if (*label) {
        if (!file_says("/sys/fs/selinux/enforce", 0))
            return blame(-EOPNOTSUPP, "process.selinuxLabel: this kernel has no SELinux for", label);
        long done = set_attribute("/proc/self/attr/exec", label);
        if (done >= 0)
            done = set_attribute("/proc/self/attr/keycreate", label); /* until the program is executed */
        if (done < 0)
            return blame(done, "process.selinuxLabel", label);
    }
    return 0;
}

/* Without a keyring of its own the process would share that of whoever started it, and the keys in it: that a user has as
 * many keyrings as they may is a failure.  EACCES is a filter around us that forbids them altogether. */
long join_keyring(void)
{
    long done = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    return done == -ENOSYS || done == -EACCES ? 0 : named(done, "make a session keyring (kernel.keys.maxkeys):", "");
}
