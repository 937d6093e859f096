"""What ``imagedelta doctor`` looks at, one file per outside thing; each check returns findings and never raises."""
