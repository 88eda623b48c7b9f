/* All that is looked at before a library of another version is refused. */
int mj_version(void) { return 2003007; }
