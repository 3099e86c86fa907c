/** The forms of a timeline, by the end of the file's name. */
export const timelineForms = ['html', 'svg', 'json'] as const;
export type TimelineForm = (typeof timelineForms)[number];

/** Undefined: the name has none of the ends. */
export const formOf = (file: string): TimelineForm | undefined =>
  timelineForms.find((form) => file.endsWith(`.${form}`));
