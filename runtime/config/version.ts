/** Troupe's version, the same as in package.json (a test compares them). A constant, so that no start reads a file. */
export const VERSION = "0.1.0";
