/* The plan: what the Python side wants done, as a flat list of small operations.
 *
 * A plan begins with PLAN_MAGIC; then records follow: a 32-bit operation, the 32-bit size of its arguments, and the
 * arguments in the order given here.  An integer is 8 bytes, a string a 32-bit length, its bytes and a NUL; both in
 * the machine's byte order.  A list is its length as an integer, then its items.
 *
 * Operations before CLONE configure and prepare the process that was started (it becomes the monitor); those after it
 * are carried out by the container's first process, in order, the last being EXEC or PAUSE.  A plan without CLONE is
 * carried out by the started process itself.  The Python side of this table is runtime/plan.py; a test compares them.
 */
#ifndef ESTIVA_PLAN_H
#define ESTIVA_PLAN_H

#include "sys.h"

#define PLAN_MAGIC "ESTIVA01"
#define PLAN_FD 3   /* the plan is read from here */
#define REPORT_FD 4 /* a seqpacket socket: the first client of the monitor, and where failures go */

#define OPERATIONS(OP)                                                                                                 \
    /* the monitor */                                                                                                  \
    OP(1, STATUS)     /* status_path exit_path durable: files kept for other commands; durable: over a power cut */    \
    OP(2, LOG)        /* path format(1 k8s-file, 2 json-file) max_bytes max_files */                                  \
    OP(3, ATTACH)     /* path of the listening socket */                                                              \
    OP(4, CGROUP)     /* [cgroup.procs paths] [directories to remove, deepest first] kill_path oom_path */            \
    OP(5, RESTART)    /* policy(1 on-failure, 2 always) max_retries */                                                \
    OP(6, REMOVE)     /* path of a tree to remove when all is over */                                                 \
    OP(7, CLEANUP)    /* [argv] executed when all is over, unless the owner says it has done so */                    \
    OP(8, TIMEOUT)    /* seconds after which the container is killed */                                               \
    OP(9, STDIN)      /* (no arguments) the container's standard input is a pipe, else /dev/null */                   \
    OP(10, TERMINAL)  /* (no arguments) the container's standard streams are a terminal made by CONSOLE */            \
    OP(11, ORPHAN)    /* (no arguments) no monitor: leave once the process is ready, which is nobody's child then */  \
    OP(12, EXTERNAL)  /* [create argv] [start argv] [delete argv] pid_path console_path log_path: an OCI runtime */   \
    OP(13, IDMAPPED)  /* mapped upper work [options] [lowers]: the overlay is made here, for ROOT_GIVEN */            \
    OP(14, CLONE)     /* flags uid_map gid_map deny_setgroups */                                                      \
    OP(15, LAYER)     /* lock_fd directory index tar mount_point: an EROFS layer, mounted while anybody holds it */    \
    OP(100, MAP_ROOT) /* uid_map gid_map: IDMAPPED's overlay now, for ROOT_GIVEN: another runtime clones */            \
    OP(101, PREPARE)  /* source target flags uid gid: COPY_UP and CHOWN of a bind that another runtime makes */        \
    OP(130, HOLD)     /* fd: no more than sleep until the other end of this pipe is closed */                         \
    OP(16, CHILD)     /* console_path: no monitor: the process becomes a child of whoever started the helper */        \
    OP(17, CONFIRM)   /* fd now: end with whoever holds the other end of this pipe until it has written a byte to it; \
                         wait for that now, else after WAIT_START has reported */                                     \
    OP(18, PROGRAM)   /* [argv] [environment]: fail as EXEC would if there is no such program */                      \
    /* namespaces */                                                                                                   \
    OP(20, JOIN)      /* path type: setns */                                                                          \
    OP(21, JOIN_FD)   /* fd types: setns by pidfd */                                                                  \
    OP(22, UNSHARE)   /* flags */                                                                                     \
    OP(23, HOSTNAME)  /* name */                                                                                      \
    OP(24, DOMAINNAME) /* name */                                                                                     \
    OP(25, LOOPBACK)  /* bring lo up */                                                                               \
    OP(26, SYSCTL)    /* path below /proc/sys, value */                                                               \
    OP(27, HIDE)      /* not dumpable until EXEC: nobody in a joined namespace may look into this process */          \
    OP(28, OOM_SCORE) /* value */                                                                                     \
    OP(29, KEYRING)   /* a new session keyring */                                                                     \
    OP(30, BECOME_ROOT) /* ids 0 of the new user namespace */                                                         \
    OP(31, TIME_OFFSETS) /* text for timens_offsets */                                                                \
    OP(32, SYNC)      /* who: stop until its part is done; 1 the monitor's (NET_DEVICE), 2 the part of who started it */ \
    OP(33, HOOK)      /* name path timeout_s state(JSON, cut before the pid) [argv] [environment] filter_flags filter */ \
    OP(34, SOURCE)    /* path flags uid_map gid_map: the monitor opens what BIND and ROOT_BIND take as given */       \
    OP(35, REMOUNT)   /* target set clear recursive_set recursive_clear [propagation] [options] */                    \
    OP(36, ENTER)     /* path type: a namespace the process is to be born in, entered by who clones it */             \
    OP(37, PARENT_PRIVATE) /* path: the mount that holds it, so that what is mounted there does not propagate */     \
    OP(38, ROOT_OPEN) /* path: the root is this directory as it is, for who has no mount namespace of his own */      \
    OP(39, NET_DEVICE) /* name new_name: a device of ours for the container, moved at SYNC */                        \
    /* the root file system */                                                                                         \
    OP(40, PROPAGATION) /* path flags: classic propagation change */                                                  \
    OP(41, ROOT_OVERLAY) /* upper work [options] [lowers, top first] */                                               \
    OP(42, ROOT_BIND) /* path recursive given */                                                                          \
    OP(43, ROOT_GIVEN) /* index of what was given: the mount of IDMAPPED is the first */                              \
    OP(44, ROOT_ATTACH) /* path it is mounted at in this namespace */                                                 \
    OP(45, MOUNT)     /* type source target fallback flags attributes [propagation] [options]; fallback: bound then */ \
    OP(46, BIND)      /* given source target flags set clear recursive_set recursive_clear uid gid [propagation] */   \
    OP(47, SYMLINK)   /* content path */                                                                              \
    OP(48, DEVICE)    /* path mode major minor uid gid source: made, or with a source the host's bound */             \
    OP(49, CONSOLE)   /* rows columns uid bind: a new terminal; bind mounts it on /dev/console */                     \
    OP(50, MASK)      /* path */                                                                                      \
    OP(51, READONLY)  /* path */                                                                                      \
    OP(52, PIVOT)     /* how: 0 pivot_root, 1 move the root and chroot, 2 only chroot */                              \
    OP(53, ROOT_READONLY) /* (no arguments) */                                                                        \
    OP(54, MKDIR)     /* path mode */                                                                                 \
    OP(55, LISTEN)    /* path of the socket for WAIT_START */                                                         \
    OP(120, ENTRY)    /* path line: of passwd(5) or group(5); added unless one of its name or number is there */      \
    OP(121, KEEP_GROUPS) /* (no arguments) no operation changes the supplementary groups */                           \
    /* the process */                                                                                                  \
    OP(60, RLIMIT)    /* name resource soft hard; before CLONE: only make room for it in the process to be */         \
    OP(61, UMASK)     /* mask */                                                                                      \
    OP(62, NO_NEW_PRIVILEGES) /* (no arguments) */                                                                    \
    OP(63, SECCOMP)   /* flags program */                                                                             \
    OP(64, BOUNDING)  /* mask of capabilities to keep */                                                              \
    OP(65, IDS)       /* uid gid set_groups [gids] */                                                                 \
    OP(66, CAPABILITIES) /* effective permitted inheritable ambient */                                                \
    OP(67, CHDIR)     /* path create */                                                                               \
    OP(68, PERSONALITY) /* value */                                                                                   \
    OP(69, INIT)      /* the helper stays as process 1 and reaps */                                                   \
    OP(70, WAIT_START) /* (no arguments) report ready, go on when a client connects to LISTEN */                      \
    OP(71, EXEC)      /* [argv] [environment] */                                                                      \
    OP(72, PAUSE)     /* (no arguments) report ready and sleep for ever */                                            \
    OP(73, KEEP_FDS)  /* count first: EXEC passes on that many descriptors from `first`, as 3, 4, … */                  \
    OP(74, AGENT)     /* path [parts]: of the monitor; who gets the listener of SECCOMP; the pid goes between parts */  \
    OP(75, LANDLOCK)  /* least_abi file_rights port_rights scopes [paths] [rights of each] [port rights port rights…] */ \
    OP(76, LABELS)    /* apparmor_profile selinux_label: of the program and its keyring */                            \
    OP(77, SCHEDULER) /* policy nice priority flags runtime deadline period */                                        \
    OP(78, IO_PRIORITY) /* value */                                                                                   \
    OP(79, AFFINITY)  /* mask text */                                                                                 \
    OP(80, MEMORY_POLICY) /* mode mask */                                                                             \
    OP(81, HOME)      /* uid: EXEC adds its home directory, by the container's /etc/passwd, to the environment */     \
    OP(82, FORK_INSIDE) /* terminal: go on as a new process, the first in the joined pid namespace; begin a session */

enum operation {
#define ENUMERATE(number, name) OP_##name = number,
    OPERATIONS(ENUMERATE)
#undef ENUMERATE
};

/* flags of MOUNT and BIND */
#define MOUNT_COPY_UP 1     /* fill the new file system, or an empty source directory, from what the target held */
#define MOUNT_NO_SYMLINKS 2 /* the target must be what it says: a symbolic link in its path is refused */
#define MOUNT_RECURSIVE 4
#define MOUNT_CHOWN 8       /* give the source tree to uid:gid */
#define MOUNT_OPTIONAL 16   /* a source that does not exist is no failure */
#define MOUNT_SOURCE_NOFOLLOW 32 /* the source may be a symbolic link, which is bound itself */
#define MOUNT_COPY_LINK 64  /* a source that is a symbolic link is made again, not bound */
#define MOUNT_TARGET_NOFOLLOW 128 /* a symbolic link at the target is mounted upon, not followed */
#define MOUNT_IDMAP_ALL 256 /* SOURCE: the ids of mounts below are mapped, too */
#define MOUNT_GIVEN 512     /* BIND: only what was given will do */

/* SOURCE's maps: "" none, "=" the ids of the user namespace CLONE makes, "/path" those of a namespace, else a map as
 * uid_map takes it.  A propagation is a flag word of mount(2). */

struct plan { const char *at, *end; };
struct operation_record { uint32_t code; int index; struct plan args; };

int next_operation(struct plan *plan, struct operation_record *operation);
int64_t next_int(struct plan *args);
const char *next_string(struct plan *args);
const char *next_bytes(struct plan *args, uint32_t *size);
int next_list(struct plan *args, const char **items, int room); /* count; items is NULL-terminated */
int has(struct plan plan, uint32_t code);

/* What went wrong, as it travels from whoever met it to the Python side. */
struct failure { int32_t error; int32_t operation; int32_t index; char text[500]; };
extern struct failure failure;
long blame(long error, const char *call, const char *object);
static inline long named(long done, const char *call, const char *object)
{
    return done < 0 ? blame(done, call, object) : 0;
}

/* setup.c: carries out one operation in the calling process; 0 or -errno with `failure` filled in */
#define GIVEN 512
struct setup {
    int channel;       /* to the monitor, or -1 */
    int report;        /* to the Python side, for a plan without CLONE */
    int root;          /* the root file system under construction, or -1 */
    int given[GIVEN];  /* descriptors the monitor opened, -1 where it could not */
    int given_count;
    int listener;      /* made by LISTEN, or -1 */
    int confirm;       /* of CONFIRM that is still to be waited for, or -1 */
    int keep, keep_from; /* KEEP_FDS */
    const char *attached; /* where ROOT_ATTACH put the root */
    uint32_t operation;
};
extern struct setup setup;
long perform(struct operation_record *operation);
/* what the channel says, first byte of a message */
#define SAY_FAILED 'F'
#define SAY_TERMINAL 'M'
#define SAY_READY 'R'
#define SAY_LISTENER 'N'
#define SAY_ENTERED 'P'
#define SAY_GO 'G'
#define SAY_GIVEN 'D'
#define SAY_SYNC 'S'

void default_signals(void);                                   /* program.c */
/* program.c: execvpe(3); returns only on failure, with `failure` filled in */
void run_program(const char **argv, const char **environment);
long perform_process(struct operation_record *operation);      /* process.c */
void init_main(const char **argv) __attribute__((noreturn));    /* init.c */
void detach(void);
void monitor_main(struct plan plan, struct plan clone_args) __attribute__((noreturn));
void report(int fd);                                           /* send `failure` as a frame of the monitor's protocol */
void leave(int code) __attribute__((noreturn));
int configure(struct operation_record *operation);             /* monitor.c: 1 if the operation was its */
extern const char **program_argv;

#endif
