/* Landlock: what the process and all that comes of it may do with files, TCP ports, sockets and signals, besides all
 * other rules.  landlock(7), Documentation/userspace-api/landlock.rst
 *
 * Carried out as the last step before the filter, when the container's root is the root: paths are opened there.  What
 * this kernel's version of Landlock does not know is left out, unless the plan wants a newer one.
 */
#include "process.h"

#include <linux/landlock.h>

#define RULE_PORT 2
#define FILE_RIGHTS                                                                                                    \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | 1ull << 14 | 1ull << 15)

/* As later kernels have it: older ones take the longer structure as long as the rest is zero. */
struct ruleset { uint64_t files, ports, scopes; };
struct port_rule { uint64_t access, port; };

static void limit_to(long abi, struct ruleset *set)
{
    static const struct { int abi; struct ruleset known; } versions[] = {
        { 6, { ~0ull, ~0ull, ~0ull } },
        { 5, { ~0ull, ~0ull, 0 } },
        { 4, { (1ull << 15) - 1, ~0ull, 0 } }, /* 5: devices' ioctl */
        { 3, { (1ull << 15) - 1, 0, 0 } },     /* 4: TCP */
        { 2, { (1ull << 14) - 1, 0, 0 } },     /* 3: truncation */
        { 1, { (1ull << 13) - 1, 0, 0 } },     /* 2: linking to other directories */
    };
    for (unsigned i = 0; i < sizeof versions / sizeof *versions; i++)
        if (abi >= versions[i].abi) {
            set->files &= versions[i].known.files;
            set->ports &= versions[i].known.ports;
            set->scopes &= versions[i].known.scopes;
            return;
        }
}

/* A path that is not there gives nothing: what is forbidden stays so. */
static long allow_path(int ruleset, const char *path, uint64_t access)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
    struct landlock_path_beneath_attr rule = { .allowed_access = access };
    struct statx st;
    long done = rule.parent_fd = (int)SYS(openat2, AT_FDCWD, path, &how, sizeof how);
    if (done == -ENOENT || done == -ENOTDIR)
        return 0;
    if (done >= 0) {
        done = SYS(statx, rule.parent_fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
        if (done >= 0 && (st.stx_mode & 0170000) != 0040000)
            rule.allowed_access &= FILE_RIGHTS;
        if (done >= 0 && rule.allowed_access)
            done = SYS(landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        SYS(close, rule.parent_fd);
    }
    return named(done, "landlock: allow", path);
}

static long add_rules(int ruleset, struct plan *args, const struct ruleset *set)
{
    static const char *paths[1024];
    int64_t count = next_int(args);
    if (count >= 1024)
        return blame(-E2BIG, "landlock", "too many paths");
    for (int64_t i = 0; i < count; i++)
        paths[i] = next_string(args);
    count = next_int(args);
    for (int64_t i = 0; i < count; i++) {
        long done = allow_path(ruleset, paths[i], (uint64_t)next_int(args) & set->files);
        if (done < 0)
            return done;
    }
    count = next_int(args) / 2;
    for (int64_t i = 0; i < count; i++) {
        struct port_rule rule = { .port = (uint64_t)next_int(args) };
        rule.access = (uint64_t)next_int(args) & set->ports;
        long done = rule.access ? SYS(landlock_add_rule, ruleset, RULE_PORT, &rule, 0) : 0;
        if (done < 0)
            return blame(done, "landlock: allow", "a port");
    }
    return 0;
}

long landlock(struct plan *args)
{
    int64_t least = next_int(args);
    struct ruleset set = { 0 };
    set.files = (uint64_t)next_int(args);
    set.ports = (uint64_t)next_int(args);
    set.scopes = (uint64_t)next_int(args);
    long abi = SYS(landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < least || abi < 0) {
        TEXT(text, 80);
        put(&text, "version ");
        put_number(&text, least);
        put(&text, " is wanted, this kernel has ");
        put_number(&text, abi < 0 ? 0 : abi);
        return least ? blame(-EOPNOTSUPP, "landlock:", text.at) : 0;
    }
    limit_to(abi, &set);
    if (!set.files && !set.ports && !set.scopes)
        return 0;
    size_t size = abi < 4 ? 8 : abi < 6 ? 16 : sizeof set;
    long ruleset = SYS(landlock_create_ruleset, &set, size, 0);
    if (ruleset < 0)
        return blame(ruleset, "landlock_create_ruleset", "");
    long done = add_rules((int)ruleset, args, &set);
    if (done >= 0) {
        raise_permitted();
        done = named(SYS(landlock_restrict_self, ruleset, 0), "landlock_restrict_self", "");
    }
    SYS(close, ruleset);
    return done;
}
