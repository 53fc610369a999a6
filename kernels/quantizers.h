/* What each level gives for quantization. */
#ifndef LLMASOS_QUANTIZERS_H
#define LLMASOS_QUANTIZERS_H

#include "blocks.h"

struct quantizers {
    /* Quantizes blocks of a type that format_of knows. Those of K types, and all with importance, are at most TILE
     * values, and those can be read up to TILE, as their importance can, whatever stands there. Returns how many
     * blocks the reference had to do. */
    int64_t (*quantize)(int type, const float *values, struct weighting weighting, int64_t blocks, uint8_t *target);
    /* Makes F32, F16 or BF16 float32, exactly. */
    void (*widen)(int source_type, const void *source, int64_t count, float *values);
};

extern const struct quantizers llmasos_plain_quantizers, llmasos_sse41_quantizers, llmasos_avx2_quantizers,
    llmasos_avx512_quantizers, llmasos_neon_quantizers;

#endif
