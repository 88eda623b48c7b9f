/* Reads observations from stdin, numbers between spaces, and prints the policy's actions. */
#include "spar.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    char why[256] = "usage: act POLICY";
    if (spar_abi() != SPAR_ABI)
        return fprintf(stderr, "the library is not that of this header\n"), 1;
    spar_policy *policy = argc == 2 ? spar_policy_load(argv[1], why, sizeof why) : NULL;
    if (!policy)
        return fprintf(stderr, "%s\n", why), 1;
    size_t n = spar_policy_obs_dim(policy), m = spar_policy_act_dim(policy), read = 0;
    float *obs = calloc(n, sizeof *obs), *action = calloc(m, sizeof *action);
    int status = SPAR_OK;
    while (obs && action && status == SPAR_OK && scanf("%f", &obs[read]) == 1) {
        if (++read < n)
            continue;
        read = 0;
        status = spar_policy_act(policy, obs, n, action, m);
        for (size_t i = 0; status == SPAR_OK && i < m; i++)
            printf("%.9g%c", action[i], i + 1 < m ? ' ' : '\n');
    }
    if (status != SPAR_OK)
        fprintf(stderr, "no action: status %d\n", status);
    free(obs);
    free(action);
    spar_policy_free(policy);
    return status;
}
