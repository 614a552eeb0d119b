//! Odd multiples of the generator (SEC 2, 2.4.1): 1, 3, 5 ... 15 times.

use super::field::Field;
use super::point::{Affine, MULTIPLES};

/// The multiples; a test computes them anew.
#[rustfmt::skip]
pub(super) static GENERATOR_MULTIPLES: [Affine; MULTIPLES] = [
    Affine {
        x: Field([
            0x16f8_1798, 0x59f2_815b, 0x2dce_28d9, 0x029b_fcdb, 0xce87_0b07, 0x55a0_6295, 0xf9dc_bbac, 0x79be_667e,
        ]),
        y: Field([
            0xfb10_d4b8, 0x9c47_d08f, 0xa685_5419, 0xfd17_b448, 0x0e11_08a8, 0x5da4_fbfc, 0x26a3_c465, 0x483a_da77,
        ]),
    },
    Affine {
        x: Field([
            0xbce0_36f9, 0x8601_f113, 0x836f_99b0, 0xb531_c845, 0xf89d_5229, 0x4934_4f85, 0x9258_c310, 0xf930_8a01,
        ]),
        y: Field([
            0x84b8_e672, 0x6cb9_fd75, 0x34c2_231b, 0x6500_a999, 0x2a37_f356, 0x0fe3_37e6, 0x632d_e814, 0x388f_7b0f,
        ]),
    },
    Affine {
        x: Field([
            0xb240_efe4, 0xcba8_d569, 0xdc61_9ab7, 0xe88b_84bd, 0x0a5c_5128, 0x55b4_a725, 0x1a07_2093, 0x2f8b_de4d,
        ]),
        y: Field([
            0xa6ac_62d6, 0xdca8_7d3a, 0xab0d_6840, 0xf788_271b, 0xa6c9_c426, 0xd4db_a9dd, 0x36e5_e3d6, 0xd8ac_2226,
        ]),
    },
    Affine {
        x: Field([
            0xcac4_f9bc, 0xe92b_dded, 0x0330_e39c, 0x3d41_9b7e, 0xf2ea_7a0e, 0xa398_f365, 0x6e5d_b4ea, 0x5cbd_f064,
        ]),
        y: Field([
            0x0872_64da, 0xa508_2628, 0x13fd_e7b5, 0xa813_d0b8, 0x861a_54db, 0xa317_8d6d, 0xba25_5960, 0x6aeb_ca40,
        ]),
    },
    Affine {
        x: Field([
            0xfc27_ccbe, 0xc35f_110d, 0x4c57_e714, 0xe097_9697, 0x9f55_9abd, 0x09ad_178a, 0xf0c7_f653, 0xacd4_84e2,
        ]),
        y: Field([
            0xc64f_9c37, 0x05cc_262a, 0x375f_8e0f, 0xadd8_88a4, 0x763b_61e9, 0x6438_0971, 0xb0a7_d9fd, 0xcc33_8921,
        ]),
    },
    Affine {
        x: Field([
            0x5da0_08cb, 0xbbec_1789, 0xe5c1_7891, 0x5649_980b, 0x70c6_5aac, 0x5ef4_246b, 0x58a9_411e, 0x774a_e7f8,
        ]),
        y: Field([
            0xc953_c61b, 0x301d_74c9, 0xdff9_d6a8, 0x372d_b1e2, 0xd7b7_b365, 0x0243_dd56, 0xeb6b_5e19, 0xd984_a032,
        ]),
    },
    Affine {
        x: Field([
            0x1940_5aa8, 0xdeed_df8f, 0x610e_58cd, 0xb075_fbc6, 0xc374_8651, 0xc7d1_d205, 0xd975_288b, 0xf287_73c2,
        ]),
        y: Field([
            0xdb03_ed81, 0x29b5_cb52, 0x521f_a91f, 0x3a1a_06da, 0x65cd_af47, 0x7582_12eb, 0x8d88_0a89, 0x0ab0_902e,
        ]),
    },
    Affine {
        x: Field([
            0xe27e_080e, 0x44ad_bcf8, 0x3c85_f79e, 0x31e5_946f, 0x095f_f411, 0x5a46_5ae3, 0x7d43_ea96, 0xd792_4d4f,
        ]),
        y: Field([
            0xf6a2_6b58, 0xc504_dc9f, 0xd896_d3a5, 0xea40_af2b, 0x28cc_6def, 0x8384_2ec2, 0xa86c_72a6, 0x581e_2872,
        ]),
    },
];
