/* What the files about the container's process share: process.c, seccomp.c and those of single settings. */
#ifndef ESTIVA_PROCESS_H
#define ESTIVA_PROCESS_H

#include "plan.h"

/* process.c: signals, descriptors and the parent's death as the program will find them; once, before a filter */
long settle(void);

long load_filter(struct plan *args); /* seccomp.c */

#endif
