# Sourced by the scripts before all else: -h or --help prints the comment at the top of the script, and nothing runs.
for argument in "$@"; do
    case $argument in
        -h | --help)
            sed -n '2,${/^# \{0,1\}/!q;/^#SBATCH/q;s/^# \{0,1\}//p;}' "$0"
            exit
            ;;
    esac
done
