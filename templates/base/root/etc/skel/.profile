case $- in
*i*) [ -r ~/.bashrc ] && . ~/.bashrc ;;
esac
