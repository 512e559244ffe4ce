/* contact_sheet.h -- several pictures in one, in rows, to look at them side by side. */
#ifndef AT_CLI_CONTACT_SHEET_H
#define AT_CLI_CONTACT_SHEET_H

#include "runtime/atelier.h"
#include "runtime/picture.h"

enum { AT_SHEET_SIDE_MAX = 4096 }; /* pictures are made smaller where the sheet would be larger */

/* 'n' pictures of one size and of 3 channels; the caller frees the sheet. */
at_status at_contact_sheet(at_picture *out, const at_pixels *pictures, int n, at_error *err);

/* Rows of 8-bit samples as a picture that can be written; they stay the caller's. */
at_picture at_picture_of(const at_pixels *pixels);

#endif
