/* Acting by a policy file of spar from C: libspar_c.a or libspar_c.so.
 *
 *     spar_policy *policy = spar_policy_load("policy.safetensors", why, sizeof why);
 *     spar_policy_act(policy, obs, n, action, m);
 *
 * A policy is read-only: any number of threads may act by one at the same time. Acting
 * asks for no memory but in a thread's first call, and gives the same bits for the same
 * observation on every machine. */
#ifndef SPAR_H
#define SPAR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface: what spar_abi() returns of a library that has it. */
#define SPAR_ABI 1

/* What spar_policy_act returns. */
enum spar_status {
    SPAR_OK = 0,
    SPAR_NULL = 1,       /* a pointer is null */
    SPAR_LENGTH = 2,     /* a length is not the policy's */
    SPAR_NOT_FINITE = 3, /* the observation, or the action, is not finite */
    SPAR_INTERNAL = 4    /* a defect of the library; the policy is not to be used again */
};

typedef struct spar_policy spar_policy;

uint32_t spar_abi(void);

/* Reads the policy file at `path`. Null if it cannot be used; then one line of why, ended
 * by a zero and cut to `size` bytes, is in `why`, unless that is null. */
spar_policy *spar_policy_load(const char *path, char *why, size_t size);

/* Widths of an observation and of an action; 0 of a null policy. */
size_t spar_policy_obs_dim(const spar_policy *policy);
size_t spar_policy_act_dim(const spar_policy *policy);

/* The action for one observation, both in the units of the data the policy was trained
 * on. `action` is written only if the result is SPAR_OK. */
int spar_policy_act(const spar_policy *policy, const float *obs, size_t obs_len,
                    float *action, size_t action_len);

/* Ends the use of a policy; a null one is none. */
void spar_policy_free(spar_policy *policy);

#ifdef __cplusplus
}
#endif

#endif
