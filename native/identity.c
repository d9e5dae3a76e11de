/* Who the process is and what it may do: user, groups, capabilities.  credentials(7), capabilities(7) */
#include "process.h"

#include <linux/capability.h>

static int keep_groups;

/* KEEP_GROUPS */
long leave_groups(void)
{
    keep_groups = 1;
    return 0;
}

long set_ids(struct plan *args)
{
    unsigned uid = (unsigned)next_int(args), gid = (unsigned)next_int(args);
    int set_groups = (int)next_int(args);
    int64_t count = next_int(args);
    static uint32_t groups[1024];
    if (count > 1024)
        return blame(-EINVAL, "setgroups", "too many groups");
    for (int64_t i = 0; i < count; i++)
        groups[i] = (uint32_t)next_int(args);
    /* Permitted capabilities survive the change of user: CAPABILITIES says what stays. */
    long done = SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (done >= 0 && set_groups && !keep_groups)
        done = SYS(setgroups, count, groups);
    if (done >= 0)
        done = SYS(setresgid, gid, gid, gid);
    if (done >= 0)
        done = SYS(setresuid, uid, uid, uid);
    if (done < 0) {
        TEXT(text, 80);
        put_number(&text, uid);
        put(&text, ", group ");
        put_number(&text, gid);
        return blame(done, "process.user: become user", text.at);
    }
    return 0;
}

/* What can be permitted at all, and the bounding set wanted: known by the time CAPABILITIES comes, when a filter may
 * forbid to ask. */
static uint64_t permitted_before, bounding_wanted;

long set_bounding(uint64_t keep)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    long got = SYS(capget, &header, data);
    if (got < 0)
        return blame(got, "capget", "");
    permitted_before = data[0].permitted | (uint64_t)data[1].permitted << 32;
    bounding_wanted = keep;
    for (int cap = 0; cap < 64; cap++) {
        if (keep >> cap & 1)
            continue;
        long done = SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (done == -EINVAL)
            break; /* past the last capability of this kernel */
        if (done < 0)
            return blame(done, "drop bounding capability", "");
    }
    return 0;
}

/* What cannot be had is left out: who asked for it has been warned.  capabilities(7): permitted can only shrink; inheritable
 * takes what is permitted or was inheritable, within the bounding set; ambient is part of both. */
long set_capabilities(struct plan *args)
{
    uint64_t effective = (uint64_t)next_int(args), permitted = (uint64_t)next_int(args) & permitted_before,
             inheritable = (uint64_t)next_int(args) & permitted_before & bounding_wanted,
             ambient = (uint64_t)next_int(args);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    effective &= permitted;
    ambient &= permitted & inheritable;
    for (int i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){ (uint32_t)(effective >> (32 * i)), (uint32_t)(permitted >> (32 * i)),
                                                   (uint32_t)(inheritable >> (32 * i)) };
    long done = SYS(capset, &header, data);
    if (done < 0)
        return blame(done, "capset", "");
    SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; cap < 64; cap++)
        if (ambient >> cap & 1 && (done = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0)) < 0)
            return blame(done, "raise ambient capability", "");
    return 0;
}

void raise_permitted(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    if (SYS(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0 || SYS(capget, &header, data) < 0)
        return;
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted;
    SYS(capset, &header, data);
}

long become_root(void)
{
    long done = SYS(setresgid, 0, 0, 0);
    if (done >= 0)
        done = SYS(setresuid, 0, 0, 0);
    if (done >= 0 && !keep_groups)
        SYS(setgroups, 0, NULL); /* denied with a single-id map: then there is nothing to drop either */
    return named(done, "become root of", "the user namespace");
}
