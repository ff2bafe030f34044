/** Bytes of one policy text. Apart from the policies themselves, so that the command line does not carry Cedar along. */
export const POLICY_TEXT_MAX = 64 * 1024;
