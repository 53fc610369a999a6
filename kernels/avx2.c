/* The kernels for AVX2, and F16C for float16. No fused multiply-adds: they would round once where ggml rounds twice. */
#if defined(__x86_64__)

#include <immintrin.h>

#define VECTOR_AVX2
#define NAME(kernels) llmasos_avx2_##kernels

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,f16c")
#endif

#include "vector.h"

#include "quantize_body.h"

/* Rows of logits promise no bits, and are a little better with fused multiply-adds. */
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,f16c,fma"))), apply_to = function)
#else
#pragma GCC target("fma")
#endif

#include "rows_body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#endif
