# Sourced by the scripts before they change to their own folder: paths on their command lines are relative to the user's folder.

# Sets the array `arguments` to the arguments, with absolute paths unless the user is in the scripts' folder; and `given_runs` to the
# value of --runs, empty if there is none. A value of --ood is a path if it contains a slash or ends in .npz or .txt; otherwise it is
# the name of a set. If the script sets `words_are_folders`, so is each word that is no value of an option.
read_arguments() {
    local argument name='' value
    arguments=() given_runs=''
    for argument in "$@"; do
        value=$argument
        case $argument in
            --*=*) name=${argument%%=*} value=${argument#*=} ;;
            --detail | --no-detail | --paper) name='' value='' ;;
            --*) name=$argument value='' ;;
        esac
        if [ -n "$value" ]; then
            case $name in
                --runs) value=$(absolute_path "$value") given_runs=$value ;;
                '') [ -z "${words_are_folders-}" ] || value=$(absolute_path "$value") ;;
                --data-dir | --data_dir | --report) value=$(absolute_path "$value") ;;
                --ood) case $value in */* | *.npz | *.txt) value=$(absolute_path "$value") ;; esac ;;
            esac
            case $argument in --*=*) argument=$name=$value ;; *) argument=$value ;; esac
        fi
        arguments+=("$argument")
    done
}

# Prints a path as an absolute path. The path may have a role (near=PATH), which is kept.
absolute_path() {
    local role=''
    case $1 in near=* | far=* | very_far=*) role=${1%%=*}= ;; esac
    case ${1#"$role"} in
        /*) echo "$1" ;;
        *) if [ . -ef "$(dirname "${BASH_SOURCE[0]}")/.." ]; then echo "$1"; else echo "$role$PWD/${1#"$role"}"; fi ;;
    esac
}
