/** What \? says. */
export interface HelpSection {
  title: string;
  entries: [string, string][];
}

export const COMMAND_HELP: HelpSection[] = [
  {
    title: 'General',
    entries: [
      ['\\copyright', 'show licences'],
      ['\\errverbose', 'show the last error with all its details'],
      ['\\g [(OPTIONS)] [FILE]', 'send the query; result to a file or |command'],
      ['\\gdesc', "show the result's columns without running the query"],
      ['\\gexec', 'run the query, then run each value of its result'],
      ['\\gset [PREFIX]', 'run the query and store its row in variables'],
      ['\\gx [(OPTIONS)] [FILE]', 'as \\g, with expanded output'],
      ['\\bind [VALUE]...', 'parameters for the next query'],
      ['\\crosstabview [COLUMNS]', 'run the query and show its result as a grid'],
      ['\\watch [[i=]SEC] [c=N] [m=MIN]', 'run the query again and again'],
      ['\\q', 'quit'],
      ['\\restrict KEY, \\unrestrict KEY', 'allow no backslash commands until the key is given'],
    ],
  },
  {
    title: 'Cluster',
    entries: [
      ['\\aurora', 'storage nodes, computes and log positions on one screen'],
      ['\\lsn [NAME]', 'where the log stands; or put the commit LSN into a variable'],
    ],
  },
  {
    title: 'Help',
    entries: [
      ['\\? [commands|options|variables]', 'this text, the command line, special variables'],
      ['\\h [NAME]', 'SQL commands and where they are documented'],
    ],
  },
  {
    title: 'Query buffer',
    entries: [
      ['\\e [FILE] [LINE]', 'edit the query, or a file, with $EDITOR'],
      ['\\ef [FUNCTION [LINE]], \\ev [VIEW [LINE]]', 'edit a definition'],
      ['\\p', 'show the query'],
      ['\\r', 'forget the query'],
      ['\\s [FILE]', 'show the history, or save it'],
      ['\\w FILE', 'write the query to a file'],
    ],
  },
  {
    title: 'Input and output',
    entries: [
      ['\\copy ...', 'COPY with a file, program or stream on this side'],
      ['\\echo [-n] [TEXT]', 'write to standard output'],
      ['\\qecho [-n] [TEXT]', "write to \\o's output"],
      ['\\warn [-n] [TEXT]', 'write to standard error'],
      ['\\i FILE', 'run commands of a file'],
      ['\\ir FILE', 'the same, relative to the script that is running'],
      ['\\o [FILE]', 'send results to a file or |command'],
    ],
  },
  {
    title: 'Conditions',
    entries: [
      ['\\if EXPR', 'begin a block for when EXPR is true'],
      ['\\elif EXPR', 'another condition'],
      ['\\else', 'the rest'],
      ['\\endif', 'end of the block'],
    ],
  },
  {
    title: 'Catalog (S = system objects too, x = expanded, + = more details)',
    entries: [
      ['\\d[Sx+]', 'tables, views and sequences'],
      ['\\d[S+] NAME', 'describe a table, view, sequence or index'],
      ['\\dA[x+] [PATTERN]', 'access methods'],
      ['\\da[Sx] [PATTERN]', 'aggregates'],
      ['\\db[x+] [PATTERN]', 'tablespaces'],
      ['\\dconfig[x+] [PATTERN]', 'configuration parameters'],
      ['\\ddp[x] [PATTERN]', 'default privileges'],
      ['\\dD[Sx+] [PATTERN]', 'domains'],
      ['\\des, \\det, \\deu, \\dew', 'foreign servers, tables, user mappings, wrappers'],
      ['\\df[anptw][Sx+] [FUNC [TYPE]...]', 'functions'],
      ['\\dg[Sx+], \\du[Sx+] [PATTERN]', 'roles'],
      [
        '\\di, \\dm, \\ds, \\dt, \\dv, \\dE [PATTERN]',
        'indexes, materialized views, sequences, tables, views, foreign tables',
      ],
      ['\\dl[x+]', 'large objects'],
      ['\\dL[Sx+] [PATTERN]', 'procedural languages'],
      ['\\dn[Sx+] [PATTERN]', 'schemas'],
      ['\\do[Sx+] [OP [TYPE [TYPE]]]', 'operators'],
      ['\\dp[Sx], \\z[Sx] [PATTERN]', 'privileges'],
      ['\\dP[itnx+] [PATTERN]', 'partitioned tables and indexes'],
      ['\\drds[x] [ROLE [DATABASE]]', 'settings of roles and databases'],
      ['\\drg[Sx] [PATTERN]', 'role grants'],
      ['\\dT[Sx+] [PATTERN]', 'data types'],
      ['\\dx[x+] [PATTERN]', 'extensions'],
      ['\\dy[x+] [PATTERN]', 'event triggers'],
      ['\\l[x+] [PATTERN]', 'databases'],
      ['\\sf[+] FUNCTION, \\sv[+] VIEW', 'show a definition'],
    ],
  },
  {
    title: 'Formatting',
    entries: [
      ['\\a', 'aligned or unaligned'],
      ['\\C [TEXT]', 'title of tables'],
      ['\\f [TEXT]', 'field separator of unaligned output'],
      ['\\H', 'HTML or aligned'],
      ['\\pset [NAME [VALUE]]', 'any of the output options'],
      ['\\t [on|off]', 'rows only'],
      ['\\T [TEXT]', 'attributes of the HTML table'],
      ['\\x [on|off|auto]', 'expanded output'],
    ],
  },
  {
    title: 'Connection',
    entries: [
      ['\\c [DBNAME|- USER|- HOST|- PORT|-]', 'connect to another database'],
      ['\\conninfo', 'show the connection'],
      ['\\encoding', 'show the client encoding'],
      ['\\password [USER]', "change a user's password"],
    ],
  },
  {
    title: 'Large objects',
    entries: [
      ['\\lo_import FILE [COMMENT]', 'make one of a file'],
      ['\\lo_export OID FILE', 'write one to a file'],
      ['\\lo_list[+], \\lo_unlink OID', 'list them, remove one'],
    ],
  },
  {
    title: 'Operating system',
    entries: [
      ['\\cd [DIR]', 'change the working directory'],
      ['\\getenv VAR ENVVAR', 'fetch an environment variable'],
      ['\\setenv NAME [VALUE]', 'set or unset one'],
      ['\\timing [on|off]', 'time commands'],
      ['\\! [COMMAND]', 'run a shell command, or a shell'],
    ],
  },
  {
    title: 'Variables',
    entries: [
      ['\\prompt [TEXT] NAME', 'ask for a value'],
      ['\\set [NAME [VALUE]]', 'set a variable, or list all'],
      ['\\unset NAME', 'unset it'],
    ],
  },
];

export const OPTION_HELP: HelpSection[] = [
  {
    title: 'aurora psql [OPTION]... [DBNAME [USERNAME]]',
    entries: [
      ['-c, --command=COMMAND', 'run a command, SQL or backslash, and exit'],
      ['-d, --dbname=DBNAME', 'database, connection URI or string'],
      ['-f, --file=FILENAME', 'run commands of a file ("-": standard input) and exit'],
      ['-l, --list', 'list databases and exit'],
      ['-v, --set, --variable=NAME=VALUE', 'set a variable'],
      ['-V, --version', 'show the version and exit'],
      ['-X, --no-psqlrc', 'do not read ~/.psqlrc'],
      ['-1, --single-transaction', 'run the commands as one transaction'],
      ['-?, --help[=options|commands|variables]', 'show help and exit'],
    ],
  },
  {
    title: 'Input and output',
    entries: [
      ['-a, --echo-all', 'echo all input of scripts'],
      ['-b, --echo-errors', 'echo commands that failed'],
      ['-e, --echo-queries', 'echo commands sent'],
      ['-E, --echo-hidden', 'show the queries of backslash commands'],
      ['-L, --log-file=FILENAME', 'write a log of the session'],
      ['-n, --no-readline', 'no line editing'],
      ['-o, --output=FILENAME', 'results to a file or |command'],
      ['-q, --quiet', 'only results'],
      ['-s, --single-step', 'confirm each command'],
      ['-S, --single-line', 'a line ends a command'],
    ],
  },
  {
    title: 'Format',
    entries: [
      ['-A, --no-align', 'unaligned output'],
      ['--csv', 'CSV output'],
      ['-F, --field-separator=STRING', 'field separator of unaligned output'],
      ['-H, --html', 'HTML output'],
      ['-P, --pset=VAR[=ARG]', 'set an output option'],
      ['-R, --record-separator=STRING', 'record separator of unaligned output'],
      ['-t, --tuples-only', 'rows only'],
      ['-T, --table-attr=TEXT', 'attributes of the HTML table'],
      ['-x, --expanded', 'expanded output'],
      ['-z, --field-separator-zero', 'zero byte between fields'],
      ['-0, --record-separator-zero', 'zero byte between records'],
    ],
  },
  {
    title: 'Connection',
    entries: [
      ['-h, --host=HOSTNAME', 'server host or socket directory'],
      ['-p, --port=PORT', 'server port'],
      ['-U, --username=USERNAME', 'user name'],
      ['-w, --no-password', 'never ask for a password'],
      ['-W, --password', 'ask for a password at once'],
    ],
  },
];

export const VARIABLE_HELP: HelpSection[] = [
  {
    title: 'Special variables (aurora psql -v NAME=VALUE, or \\set NAME VALUE)',
    entries: [
      ['AUTOCOMMIT', 'each command is a transaction of its own'],
      ['COMP_KEYWORD_CASE', 'case of completed keywords: lower, upper, preserve-lower, preserve-upper'],
      ['DBNAME, HOST, PORT, USER', 'where we are connected'],
      ['ECHO', 'what is echoed: all, errors, none, queries'],
      ['ECHO_HIDDEN', 'show queries of backslash commands: on, off, noexec'],
      ['ENCODING', 'client encoding'],
      ['ERROR, SQLSTATE, ROW_COUNT', 'how the last query went'],
      ['FETCH_COUNT', 'rows shown at a time, 0 = all'],
      ['HIDE_TABLEAM, HIDE_TOAST_COMPRESSION', 'leave these out of \\d+'],
      ['HISTCONTROL, HISTFILE, HISTSIZE', 'the history'],
      ['IGNOREEOF', 'how many ^D leave psql'],
      ['LAST_ERROR_MESSAGE, LAST_ERROR_SQLSTATE', 'the last error'],
      ['ON_ERROR_ROLLBACK', 'go on in a transaction after an error: on, off, interactive'],
      ['ON_ERROR_STOP', 'stop at the first error'],
      ['PROMPT1, PROMPT2, PROMPT3', 'prompts'],
      ['QUIET', 'as -q'],
      ['SERVER_VERSION_NAME, SERVER_VERSION_NUM', "the server's version"],
      ['SHELL_ERROR, SHELL_EXIT_CODE', 'how the last shell command went'],
      ['SHOW_ALL_RESULTS', 'show all results of a combined query, not only the last'],
      ['SHOW_CONTEXT', 'context of messages: never, errors, always'],
      ['SINGLELINE, SINGLESTEP', 'as -S, -s'],
      ['VERBOSITY', 'error messages: default, verbose, terse, sqlstate'],
      ['VERSION, VERSION_NAME, VERSION_NUM', "psql's own version"],
      ['WATCH_INTERVAL', 'seconds between two runs of \\watch'],
    ],
  },
  {
    title: 'Environment',
    entries: [
      ['AURORA_HOME', 'a local cluster to connect to when no host is given'],
      ['PGHOST, PGPORT, PGUSER, PGDATABASE', 'where to connect'],
      ['PGPASSWORD, PGPASSFILE', 'password'],
      ['PGSSLMODE, PGOPTIONS, PGCONNECT_TIMEOUT', 'how to connect'],
      ['PSQLRC, PSQL_HISTORY', 'other startup and history files'],
      ['PSQL_EDITOR, EDITOR, VISUAL', 'the editor of \\e'],
      ['PSQL_PAGER, PAGER', 'the pager; empty for none'],
      ['COLUMNS', 'width of wrapped output'],
      ['TMPDIR', 'folder for temporary files'],
    ],
  },
];
