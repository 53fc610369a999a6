/* How a vocabulary's tokens begin. */

#include <stdbool.h>

#include "kernels.h"

enum { LONGEST_PIECE = 1024, ENDS = 256, HAS_NO_TEXT = 257, AFTER_BLANK = 258 };

/* llama.cpp's own: a token's text, which is written if it is no longer than `length`, and its length, or less than 0;
   whether a token ends an answer. */
typedef int32_t (*PieceOf)(const void *vocabulary, int32_t token, char *text, int32_t length, int32_t stripped,
                           bool special);
typedef bool (*Ends)(const void *vocabulary, int32_t token);

static int16_t beginning_of(const char *text, int32_t length) {
    if (length <= 0) return HAS_NO_TEXT;
    return length > 1 && text[0] == ' ' ? AFTER_BLANK + (unsigned char)text[1] : (unsigned char)text[0];
}

/* For each of `count` tokens its text's first byte, or, where that is a blank and others follow, AFTER_BLANK and the
   second byte, or one of the others above; and the text's length. Returned is how many have a text too long to be
   looked at; they count as if they had none. */
LLMASOS_API int32_t llmasos_beginnings(PieceOf piece_of, Ends ends, const void *vocabulary, int32_t count,
                                       int16_t *beginnings, int32_t *lengths) {
    char text[LONGEST_PIECE];
    int32_t too_long = 0;
    for (int32_t token = 0; token < count; token++) {
        int32_t length = piece_of(vocabulary, token, text, LONGEST_PIECE, 0, false);
        too_long += length < 0;
        lengths[token] = length > 0 ? length : 0;
        beginnings[token] = ends(vocabulary, token) ? ENDS : beginning_of(text, length);
    }
    return too_long;
}
