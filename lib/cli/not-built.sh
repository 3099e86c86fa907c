echo 'wireup: its compiled parts are missing, since its install script has not run: run `npm rebuild wireup` (with -g where it is installed so)' >&2
exit 1
