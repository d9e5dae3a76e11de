/* What the files about the container's process share; each operation's arguments are described in plan.h. */
#ifndef ESTIVA_PROCESS_H
#define ESTIVA_PROCESS_H

#include "plan.h"

/* identity.c.  Without no_new_privs only a capable process may load a filter or restrict itself by Landlock: what a change
 * of user took from the effective set is still permitted, until CAPABILITIES, and raise_permitted takes it back. */
long become_root(void);
long leave_groups(void);
long set_ids(struct plan *args);
long set_bounding(uint64_t keep);
long set_capabilities(struct plan *args);
void raise_permitted(void);

/* program.c.  settle: signals, descriptors and the parent's death as the program will find them; once, before a filter */
long settle(void);
long find_home(struct plan *args);
long look_for_program(struct plan *args);
long execute(struct plan *args);

long change_dir(struct plan *args); /* workdir.c */

/* wait.c */
long listen_at(struct plan *args);
long await_confirmation(int fd);
long wait_start(void);
void pause_for_ever(void);

/* settings.c */
long set_scheduler(struct plan *args);
long set_io_priority(struct plan *args);
long set_affinity(struct plan *args);
long set_memory_policy(struct plan *args);
long set_labels(struct plan *args);
long join_keyring(void);

long become_init(void);              /* init.c */
long fork_inside(struct plan *args); /* fork_inside.c */
long load_filter(struct plan *args); /* seccomp.c */
long landlock(struct plan *args);    /* landlock.c */

#endif
