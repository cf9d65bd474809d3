/** A column of a result, as RowDescription tells it. */
export interface Field {
  name: string;
  dataTypeID: number;
  dataTypeModifier: number;
}

/** Values as the server's text, null for NULL. */
export type TextRow = (string | null)[];
