/* What is asked about rows of logits: the kernels of one instruction set, and what they are given. */

#ifndef LLMASOS_ROWS_H
#define LLMASOS_ROWS_H

#include <stdint.h>

/* The most logits that `top` finds in a row. */
#define TOP_MOST 1024

/* One row's answer. Each function returns 0 if the row holds no distribution: NaN, +infinity, or nothing but
   -infinity. `width` is at least 1. */
typedef struct {
    /* The logarithm of the sum of exponentials. */
    int (*log_sum_exp)(const float *row, int64_t width, double *log_sum);
    /* The `count` greatest logits, 1 to TOP_MOST and no more than `width`, greatest first, equal ones by index.
       `log_sum` may be NULL: then which of a row with NaN are found is not said, if it does not return 0. */
    int (*top)(const float *row, int64_t width, int32_t count, float *logits, int32_t *indices, double *log_sum);
    /* In nats. */
    int (*entropy)(const float *row, int64_t width, double *entropy);
    /* Kullback and Leibler's divergence of the second row's distribution from the first's, in nats. */
    int (*divergence)(const float *row, const float *other, int64_t width, double *divergence);
} RowKernels;

extern const RowKernels llmasos_sse41_rows, llmasos_avx2_rows, llmasos_avx512_rows, llmasos_neon_rows;

#endif
