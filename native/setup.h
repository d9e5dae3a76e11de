/* What the files that set up a container share; each operation's arguments are described in plan.h. */
#ifndef ESTIVA_SETUP_H
#define ESTIVA_SETUP_H

#include "plan.h"

#define LIST_ROOM 600 /* layers and options; the kernel takes 500 lowers */

/* resolve.c: descriptors or -errno, nothing blamed */
enum kind { DIRECTORY, ORDINARY };
long resolve(const char *path, uint64_t flags, uint64_t how_resolve);
long resolve_parent(const char *path, char last[256], uint64_t how_resolve);
long open_target(const char *path, enum kind kind, uint64_t open_flags, uint64_t how_resolve);
int is_directory(int fd);

/* source.c: what the monitor opened for this process; the caller closes it */
long given_fd(int64_t index);

/* mount.c */
long set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive);
long attach(int mount, int target);
long blame_context(int context, long error, const char *call, const char *object);
long configure_context(int context, const char **options);
long create_mount(int context, const char *object, uint64_t attributes);
long mount_new(struct plan *args);
long remount(struct plan *args);
long open_source(const char *source, uint64_t flags);
long bind(struct plan *args);
long prepare_source(struct plan *args);
long map_root(struct plan *args);

/* overlay.c */
long make_overlay(struct plan *args, int user_namespace);

/* mask.c */
long mask(struct plan *args);
long read_only(struct plan *args);

/* root.c */
long root_is(long fd);
long root_given(struct plan *args);
long parent_private(struct plan *args);
long root_bind(struct plan *args);
long root_attach(struct plan *args);
long pivot(struct plan *args);
long root_open(struct plan *args);
long root_read_only(void);

/* node.c */
long symlink(struct plan *args);
long device(struct plan *args);
long make_dir(struct plan *args);
long add_entry(struct plan *args);

/* namespace.c */
long join(struct plan *args);
long loopback(void);
long sysctl(struct plan *args);

/* hook.c */
long sync_with(struct plan *args);
long hook(struct plan *args);

/* console.c */
long console(struct plan *args);

#endif
