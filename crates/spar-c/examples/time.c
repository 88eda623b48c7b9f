/* Prints how many microseconds one action takes: the fastest of many rounds. */
#define _POSIX_C_SOURCE 199309L
#include "spar.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 200, OBSERVATIONS = 64 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
    char why[256] = "usage: time POLICY";
    spar_policy *policy = argc == 2 ? spar_policy_load(argv[1], why, sizeof why) : NULL;
    if (!policy)
        return fprintf(stderr, "%s\n", why), 1;
    size_t n = spar_policy_obs_dim(policy), m = spar_policy_act_dim(policy), calls = OBSERVATIONS;
    float *obs = calloc(OBSERVATIONS * n, sizeof *obs), *action = calloc(m, sizeof *action);
    if (!obs || !action)
        return fprintf(stderr, "no memory\n"), 1;
    for (size_t i = 0; i < OBSERVATIONS * n; i++)
        obs[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double begun = seconds();
        for (size_t i = 0; i < calls; i++)
            if (spar_policy_act(policy, obs + i % OBSERVATIONS * n, n, action, m) != SPAR_OK)
                return fprintf(stderr, "no action\n"), 1;
        double each = (seconds() - begun) / (double)calls;
        if (round == 1)
            calls = each < 2e-3 ? (size_t)(2e-3 / each) : 1;
        best = each < best ? each : best;
    }
    printf("%.3f\n", 1e6 * best);
    free(obs);
    free(action);
    spar_policy_free(policy);
    return 0;
}
