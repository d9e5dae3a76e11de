/* What the files of the monitor share: its configuration, the container's life, its streams, log and clients. */
#ifndef ESTIVA_MONITOR_H
#define ESTIVA_MONITOR_H

#include "plan.h"

#define LAYERS 512
#define CHUNK 16384 /* the most one frame carries */

struct config {
    const char *status_path, *exit_path;
    int durable;
    const char *log_path;
    int log_format;
    int64_t log_bytes, log_files;
    const char *attach_path;
    const char *procs[16], *dirs[32], *kill_path, *oom_path;
    int restart_policy;
    int64_t restart_max;
    const char *remove_path;
    const char *cleanup[64];
    int64_t timeout;
    int stdin_open, terminal;
    int orphan, child; /* no monitor follows; child: CHILD said so */
    const char *pid_path, *console_path;
    struct { int lock; const char *mount_point; } layers[LAYERS];
    int layer_count;
    int external;
    const char *create[64], *start[64], *delete[64], *error_log;
    struct plan idmapped;
    int has_idmapped;
    struct plan sources[GIVEN];
    int source_count;
    struct plan devices[16];
    int device_count;
    struct plan enters[8];
    int enter_count;
    struct { int64_t resource; uint64_t hard; } limits[16];
    int limit_count;
    const char *agent_path;
    struct plan agent_state;
};
extern struct config config;

/* One life of the container's process. */
struct life {
    int pid, pid_fd;
    int input;        /* to its standard input, or -1 */
    int output[2];    /* from stdout and stderr, or -1; a terminal's master is output[0] and input */
    int64_t started;  /* wall clock, ns */
    int64_t began;    /* monotonic, ns */
};

/* cgroup.c */
void clear_cgroups(void);
void hold(struct plan *args) __attribute__((noreturn));

/* netdev.c: move the devices of NET_DEVICE to the network namespace of a process; then keep it so, or undo it */
long move_devices(int pid);
void keep_devices(void);
void return_devices(void);

/* monitor.c */
void tell_all(char kind, const void *content, size_t size);

/* layer.c */
long hold_layer(struct plan *args);
void release_layers(void);

static inline void close_if(int fd)
{
    if (fd >= 0)
        SYS(close, fd);
}

/* life.c */
struct pipes { int input[2], output[2], error[2]; };
long begin_life(struct life *life, struct plan plan, struct plan clone_args);
long make_pipes(struct pipes *pipes);
void keep_our_ends(struct life *life, struct pipes *pipes);
long take_terminal(struct life *life, int master);

/* external.c */
long external_child(struct life *life);
void external_delete(void);
long run_wait(const char **argv, const int stdio[3], int keep, int keep_from);

/* agent.c */
long tell_agent(int listener, int pid);

/* monitor.c */
long ask_owner(char kind, const void *content, size_t size);

/* source.c: open what the child takes as given, before anything is entered, and send it; 0 or -errno, `failure` filled in */
long open_sources(void);
long give_sources(int pid, int channel);

/* birth.c: clone3 in the namespaces of ENTER; like it, but with `failure` filled in */
long give_birth(struct clone_args *how, int *pid_fd);

/* log.c */
void log_open(void);
void log_write(const char *stream, const char *data, size_t n);

#endif
