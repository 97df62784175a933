/* SPDX-License-Identifier: ISC */
#include "session/env.h"

void env_give_pipe(struct env *env, uint32_t pipe) {
        uint32_t node = env_pool_node(env);

        pipe_pool_give(&env->pipes, pipe);
        if (pipe_pool_untrimmed(&env->pipes) && wheel_when(&env->loop.wheel, node) == INT64_MAX)
                wheel_arm(&env->loop.wheel, node, env->loop.now_ms + PIPE_POOL_TRIM_MS);
}
