/* What the files about the container's process share: process.c, seccomp.c and those of single settings. */
#ifndef ESTIVA_PROCESS_H
#define ESTIVA_PROCESS_H

#include "plan.h"

/* process.c: signals, descriptors and the parent's death as the program will find them; once, before a filter */
long settle(void);

/* Without no_new_privs only a capable process may load a filter or restrict itself by Landlock: what a change of user
 * took from the effective set is still permitted, until CAPABILITIES. */
void raise_permitted(void);

/* settings.c */
long set_scheduler(struct plan *args);
long set_io_priority(struct plan *args);
long set_affinity(struct plan *args);
long set_memory_policy(struct plan *args);
long set_labels(struct plan *args);
long join_keyring(void);

long fork_inside(struct plan *args); /* fork_inside.c */
long load_filter(struct plan *args); /* seccomp.c */
long landlock(struct plan *args);    /* landlock.c */

#endif
