/** Names inside a storage node's folder. In a file of their own, so that commands which look there need not load what is kept in them. */
export const LOG_FOLDER = 'log';
export const PAGES_FOLDER = 'pages';
/** Where damaged pages are until new ones have been made from the peers'. */
export const DAMAGED_PAGES_FOLDER = 'pages.damaged';
